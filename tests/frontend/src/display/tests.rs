use std::io::Write;

use super::*;
use crate::control::wire::message as bytes_of;
use crate::gpu::Rect;
use crate::memory::memfd;

fn pair(config: DisplayConfig) -> (Display, UnixStream) {
    Display::pair(config).unwrap()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn scanout(id: u32, width: u32, height: u32) -> Vec<u8> {
    bytes_of(message::SCANOUT, 0, &words(&[id, width, height]))
}

fn update(id: u32, rect: Rect, pixels: &[u8]) -> Vec<u8> {
    [&update_header(id, rect)[..], pixels].concat()
}

fn fault(bytes: &[u8]) -> String {
    let (mut display, mut back_end) = pair(DisplayConfig::default());
    back_end.write_all(bytes).unwrap();
    match display.pump() {
        Err(Error::Fault(text)) => text,
        other => panic!("{other:?} where a fault was due"),
    }
}

#[test]
fn an_update_lands_where_it_belongs() {
    let (mut display, mut back_end) = pair(DisplayConfig::default());
    back_end.write_all(&scanout(3, 8, 4)).unwrap();
    let pixels: Vec<u8> = (0..24).collect();
    back_end.write_all(&update(3, Rect::new(5, 1, 3, 2), &pixels)).unwrap();
    display.pump().unwrap();
    let surface = display.surface(3).unwrap();
    assert_eq!(surface.pixel(5, 1), [0, 1, 2, 3]);
    assert_eq!(surface.pixel(7, 2), [20, 21, 22, 23]);
    assert_eq!(surface.rgb(7, 2), 0x16_1514);
    assert_eq!(surface.pixel(4, 1), [0; 4]);
    assert_eq!(display.counters().of(message::UPDATE), 1);
    assert_eq!(display.counters().all_bytes(), 24 + 32 + 24);
    let log: Vec<_> = display.log().copied().collect();
    assert_eq!(log[1], Event::Update { scanout: 3, rect: Rect::new(5, 1, 3, 2) });
}

#[test]
fn what_would_hurt_qemu_is_a_fault() {
    let one = Rect::new(0, 0, 1, 1);
    assert!(fault(&update(0, one, &[0; 4])).contains("QEMU would crash"));
    let off = [scanout(0, 4, 4), scanout(0, 0, 0), update(0, one, &[0; 4])].concat();
    assert!(fault(&off).contains("QEMU would crash"));
    assert!(fault(&[scanout(0, 4, 4), update(0, Rect::new(4, 0, 1, 1), &[0; 4])].concat()).contains("outside"));
    let wrap = Rect::new(u32::MAX, 0, 1, 1);
    assert!(fault(&[scanout(0, 4, 4), update(0, wrap, &[0; 4])].concat()).contains("outside"));
    assert!(fault(&[scanout(0, 4, 4), update(0, Rect::new(0, 0, 0, 0), &[])].concat()).contains("nothing"));
    assert!(fault(&scanout(16, 4, 4)).contains("scanout 16"));
}

#[test]
fn sizes_flags_and_numbers_are_exact() {
    assert!(fault(&bytes_of(message::SCANOUT, 0, &[0; 16])).contains("12 bytes"));
    assert!(fault(&bytes_of(message::CURSOR_UPDATE, 0, &[0; 16400])).contains("16404 bytes"));
    assert!(fault(&bytes_of(message::SCANOUT, 4, &[0; 12])).contains("flags"));
    assert!(fault(&bytes_of(99, 0, &[])).contains("unknown"));
    let mut short = update(0, Rect::new(0, 0, 2, 2), &[0; 16]);
    short[8..12].copy_from_slice(&32u32.to_ne_bytes());
    assert!(fault(&[scanout(0, 4, 4), short].concat()).contains("32 bytes"));
}

#[test]
fn a_message_cut_short_by_another_or_by_the_end_is_a_fault() {
    let half = &update(0, Rect::new(0, 0, 2, 1), &[0; 8])[..36];
    let interrupted = [&scanout(0, 4, 4)[..], half, &scanout(0, 4, 4), &scanout(0, 4, 4)].concat();
    assert!(fault(&interrupted).contains("out of step"));
    let (mut display, mut back_end) = pair(DisplayConfig::default());
    back_end.write_all(&scanout(0, 4, 4)[..13]).unwrap();
    drop(back_end);
    assert!(display.pump().is_err_and(|error| error.to_string().contains("middle")));
}

#[test]
fn features_come_before_what_they_allow() {
    let edid = bytes_of(message::GET_EDID, 0, &[0; 4]);
    assert!(fault(&edid).contains("without its protocol feature"));
    let (mut display, mut back_end) = pair(DisplayConfig { features: 0, ..DisplayConfig::default() });
    back_end.write_all(&bytes_of(message::SET_PROTOCOL_FEATURES, 0, &1u64.to_ne_bytes())).unwrap();
    assert!(display.pump().is_err());
}

#[test]
fn replies_wait_until_they_are_released() {
    let (mut display, mut back_end) = pair(DisplayConfig::default());
    display.withhold_replies(true).unwrap();
    back_end.write_all(&bytes_of(message::GET_DISPLAY_INFO, 0, &[])).unwrap();
    back_end.write_all(&bytes_of(message::GET_PROTOCOL_FEATURES, 0, &[])).unwrap();
    display.pump().unwrap();
    assert_eq!(display.withheld(), 2);
    assert!(!wait_readable(back_end.as_fd(), Deadline::millis(0)).unwrap());
    assert_eq!(display.release_replies(1).unwrap(), 1);
    let mut reply = vec![0; 420];
    std::io::Read::read_exact(&mut back_end, &mut reply).unwrap();
    assert_eq!(reply[0..12], words(&[3, 4, 408])[..]);
    assert_eq!(reply[12 + 24 + 8..12 + 24 + 12], 1280u32.to_le_bytes());
}

#[test]
fn a_dmabuf_is_kept_and_a_stray_descriptor_is_a_fault() {
    let (mut display, back_end) = pair(DisplayConfig::default());
    let buffer = memfd(c"buffer", 4096, false).unwrap();
    let message = bytes_of(message::DMABUF_SCANOUT, 0, &words(&[1, 0, 0, 32, 32, 32, 32, 128, 1, 0x3432_5258]));
    send_all(back_end.as_fd(), &message, &[buffer.as_fd()], Deadline::secs(1)).unwrap();
    display.pump().unwrap();
    let dmabuf = display.dmabuf(1).unwrap();
    assert_eq!((dmabuf.stride, dmabuf.fourcc, dmabuf.modifier), (128, 0x3432_5258, None));
    let nothing = bytes_of(message::DMABUF_SCANOUT, 0, &words(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    send_all(back_end.as_fd(), &nothing, &[], Deadline::secs(1)).unwrap();
    display.pump().unwrap();
    assert!(display.dmabuf(1).is_none());
    send_all(back_end.as_fd(), &scanout(0, 4, 4), &[buffer.as_fd()], Deadline::secs(1)).unwrap();
    assert!(display.pump().is_err());
}

/// What becomes of messages, each with or without a buffer.
fn pumped(messages: &[(&[u8], bool)]) -> Option<String> {
    let (mut display, back_end) = pair(DisplayConfig::default());
    let buffer = memfd(c"buffer", 4096, false).unwrap();
    let buffer = [buffer.as_fd()];
    for (bytes, with_buffer) in messages {
        send_all(back_end.as_fd(), bytes, &buffer[..usize::from(*with_buffer)], Deadline::secs(1)).unwrap();
        display.withhold_replies(true).unwrap();
        match display.pump() {
            Ok(_) => {}
            Err(Error::Fault(text)) => return Some(text),
            other => panic!("{other:?}"),
        }
    }
    None
}

#[test]
fn dmabufs_that_no_display_shows_right_and_frames_that_come_too_early_are_faults() {
    let message = |number, fields: &[u32]| bytes_of(number, 0, &words(fields));
    let good = message(message::DMABUF_SCANOUT, &[1, 0, 0, 32, 32, 32, 32, 128, 0, 7]);
    let frame = message(message::DMABUF_UPDATE, &[1, 0, 0, 32, 32]);
    let nothing = message(message::DMABUF_SCANOUT, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(pumped(&[(&good, true), (&frame, false), (&nothing, false), (&scanout(1, 4, 4), false)]), None);
    for bad in [
        [1, 1, 0, 31, 32, 32, 32, 128, 0, 7],
        [1, 0, 0, 16, 32, 32, 32, 128, 0, 7],
        [1, 0, 0, 32, 32, 32, 32, 124, 0, 7],
        [1, 0, 0, 0, 32, 0, 32, 128, 0, 7],
    ] {
        assert!(pumped(&[(&message(message::DMABUF_SCANOUT, &bad), true)]).is_some(), "{bad:?}");
    }
    assert!(pumped(&[(&good, false)]).unwrap().contains("without a descriptor"));
    assert!(pumped(&[(&good, true), (&frame, false), (&frame, false)]).unwrap().contains("before the last one"));
    assert!(pumped(&[(&good, true), (&frame, false), (&good, true)]).unwrap().contains("before the last frame"));
    assert!(pumped(&[(&good, true), (&scanout(1, 4, 4), false)]).unwrap().contains("not let go"));
    let outside = message(message::DMABUF_UPDATE, &[1, 0, 0, 33, 32]);
    assert!(pumped(&[(&good, true), (&outside, false)]).unwrap().contains("outside"));
    let pixel = update(1, Rect::new(0, 0, 1, 1), &[0; 4]);
    let messages = [(&scanout(1, 4, 4)[..], false), (&good, true), (&nothing, false), (&pixel, false)];
    assert!(pumped(&messages).unwrap().contains("without a SCANOUT"));
}

#[test]
fn cursors_show_move_and_hide() {
    let (mut display, mut back_end) = pair(DisplayConfig::default());
    let head = words(&[2, 10, 20, 3, 4]);
    back_end.write_all(&bytes_of(message::CURSOR_UPDATE, 0, &[&head[..], &[7; 16384]].concat())).unwrap();
    back_end.write_all(&bytes_of(message::CURSOR_POS_HIDE, 0, &words(&[2, 11, 21]))).unwrap();
    display.pump().unwrap();
    let cursor = display.cursor(2);
    assert_eq!((cursor.hot, cursor.at, cursor.visible, cursor.shapes), ((3, 4), (11, 21), false, 1));
    assert_eq!(cursor.shape, [7; 16384]);
}

#[test]
fn a_thread_tells_of_faults_and_stops_reading_when_told() {
    let (thread, mut back_end) = DisplayThread::pair(DisplayConfig::default()).unwrap();
    back_end.write_all(&scanout(0, 4, 4)).unwrap();
    thread.wait(Deadline::secs(5), |display| display.surface(0).is_some()).unwrap();
    thread.with(|display| display.set_reading(false));
    back_end.write_all(&scanout(1, 4, 4)).unwrap();
    let early = thread.wait(Deadline::millis(20), |display| display.surface(1).is_some());
    assert!(matches!(early, Err(Error::TimedOut(_))));
    thread.with(|display| display.set_reading(true));
    thread.wait(Deadline::secs(5), |display| display.surface(1).is_some()).unwrap();
    back_end.write_all(&bytes_of(77, 0, &[])).unwrap();
    assert!(thread.wait(Deadline::secs(5), |_| false).is_err_and(|error| error.to_string().contains("unknown")));
    assert!(thread.finish().is_err());
}

#[test]
fn a_drain_counts_and_answers() {
    let (drain, mut back_end) = DrainThread::pair(DisplayConfig::default()).unwrap();
    let frame = vec![5; 512 * 256 * 4];
    back_end.write_all(&update_header(0, Rect::new(0, 0, 512, 256))).unwrap();
    back_end.write_all(&frame).unwrap();
    drain.wait_bytes(32 + frame.len() as u64, Deadline::secs(5)).unwrap();
    back_end.write_all(&bytes_of(message::GET_EDID, 0, &2u32.to_ne_bytes())).unwrap();
    let mut reply = vec![0; 12 + 1056];
    std::io::Read::read_exact(&mut back_end, &mut reply).unwrap();
    assert_eq!(reply[44..44 + 128], wire::sample_edid(2));
    let totals = drain.finish().unwrap();
    assert_eq!((totals.messages, totals.updates), (2, 1));
}
