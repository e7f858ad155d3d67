#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    vhost_seat_fuzz::stream::run(data);
});
