//! A guest whose GPU this project serves, in software, and this runner in it on that GPU.

use std::time::Duration;

use seat_vm::{Backend, Config, Gpu, Lab, Order, this_program};

pub fn all_on_its_gpu() {
    let Some(lab) = Lab::for_test() else { return };
    let backend = Backend::start(env!("CARGO_BIN_EXE_vhost-user-gpu"), &["--virgl"]).unwrap();
    let config = Config::new(Gpu::vhost_user(backend.socket())).host_root().no_text_console();
    let mut vm = config.memory_mib(1024).patience(Duration::from_secs(600)).boot(lab).unwrap();
    let environment = [(crate::NODE, "/dev/dri/renderD128"), ("CI", "in a guest nothing is skipped")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();

    let ended = vm.exec(&Order { environment, ..this_program().unwrap() }).unwrap();

    let words = format!("{}\n{}\n{}", ended.output, ended.errors, backend.log().tail(20));
    assert_eq!(ended.status, Some(0), "{words}");
    assert!(ended.output.contains("; 0 failed"), "{words}");
}
