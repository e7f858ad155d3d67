use super::*;

#[test]
fn regions_of_one_file_do_not_share_bytes() {
    let memory = GuestMemory::scattered(0x10_0000).unwrap();
    let [_, second, third, _] = memory.regions() else { panic!("four regions") };
    memory.write_u32(second.spec.gpa, 0x1111_1111);
    memory.write_u32(third.spec.gpa, 0x2222_2222);
    assert_eq!(memory.read_u32(second.spec.gpa), 0x1111_1111);
    assert_eq!(memory.read_u32(third.spec.gpa), 0x2222_2222);
}

#[test]
fn bytes_cross_from_a_region_into_the_next() {
    let memory = GuestMemory::scattered(0x10_0000).unwrap();
    let border = memory.regions()[3].spec.gpa;
    memory.write(border - 3, b"border");
    let mut back = [0; 6];
    memory.read(border - 3, &mut back);
    assert_eq!(&back, b"border");
    assert_eq!(memory.span(border, 3).u16(0), u16::from_le_bytes(*b"de"));
}

#[test]
fn unaligned_integers_are_little_endian() {
    let memory = GuestMemory::flat(0x1_0000).unwrap();
    memory.write_u64(0x101, 0x0102_0304_0506_0708);
    let mut bytes = [0; 8];
    memory.read(0x101, &mut bytes);
    assert_eq!(bytes, [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(memory.read_u64(0x101), 0x0102_0304_0506_0708);
}

#[test]
#[should_panic(expected = "lie in no region")]
fn an_address_in_a_gap_panics() {
    let memory = GuestMemory::scattered(0x10_0000).unwrap();
    memory.read_u32(memory.regions()[0].spec.size);
}

#[test]
fn a_span_tells_both_of_its_addresses() {
    let memory = GuestMemory::scattered(0x10_0000).unwrap();
    let spec = memory.regions()[2].spec;
    let span = memory.span(spec.gpa + 0x40, 16);
    assert_eq!((span.gpa(), span.uva()), (spec.gpa + 0x40, spec.uva + 0x40));
}

#[test]
fn a_sealed_file_does_not_shrink() {
    let memory = GuestMemory::flat(0x1_0000).unwrap();
    assert!(ftruncate(memory.regions()[0].fd(), 0).is_err());
}
