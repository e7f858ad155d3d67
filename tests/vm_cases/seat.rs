//! A guest on our back end, and what must be so at the end of every test.

use seat_vm::{Backend, Config, Gpu, Image, Lab, Log, Vm};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_vhost-user-gpu");

/// Our back end with a machine that runs on it.
pub struct Seat {
    pub backend: Backend,
    pub vm: Vm,
}

impl Seat {
    /// Boots on `vhost-user-gpu-pci`. `None` without the laboratory.
    pub fn boot(set: impl FnOnce(Config) -> Config) -> Option<Self> {
        Self::boot_on(|backend| Gpu::vhost_user(backend.socket()), set)
    }

    /// Boots on the device of that kind.
    pub fn boot_on(gpu: impl FnOnce(&Backend) -> Gpu, set: impl FnOnce(Config) -> Config) -> Option<Self> {
        Self::boot_with(&["--log-level=info"], gpu, set)
    }

    /// The same with the program's arguments.
    pub fn boot_with(
        arguments: &[&str],
        gpu: impl FnOnce(&Backend) -> Gpu,
        set: impl FnOnce(Config) -> Config,
    ) -> Option<Self> {
        let lab = Lab::for_test()?;
        let backend = Backend::start(PROGRAM, arguments).unwrap();
        let vm = set(Config::new(gpu(&backend))).boot(lab).unwrap();
        Some(Seat { backend, vm })
    }

    /// Shows the test picture alone on head 0 and waits until it is seen.
    pub fn show(&mut self, seed: u32, (width, height): (u32, u32)) -> Image {
        show(&mut self.vm, seed, (width, height))
    }

    /// Nobody had a reason to complain: the guest's driver, QEMU, or the back end, which still runs.
    pub fn assert_content(mut self) {
        assert_guest_content(&mut self.vm);
        assert!(self.backend.process().is_running(), "{}", self.backend.log().tail(20));
        assert_eq!(complaints(self.backend.log()), [""; 0]);
        assert_eq!(self.vm.qemu().log().text(), "");
    }
}

/// Shows the test picture alone on head 0 and waits until it is seen.
pub fn show(vm: &mut Vm, seed: u32, (width, height): (u32, u32)) -> Image {
    vm.guest(&format!("show {seed} {width}x{height} 0={width}x{height}+0+0")).unwrap();
    let picture = Image::picture(seed, width, height);
    vm.wait_screen(0, &picture).unwrap();
    picture
}

/// No error of ours stands in the guest's kernel log, where its driver writes each one it gets.
pub fn assert_guest_content(vm: &mut Vm) {
    let log = vm.guest("dmesg 1000").unwrap();
    let lines: Vec<&str> = log.as_array().unwrap().iter().filter_map(|line| line.as_str()).collect();
    assert!(lines.iter().any(|line| line.contains("virtio_gpu")), "{lines:#?}");
    let bad = |line: &&&str| line.contains("*ERROR*") || line.contains("response 0x12");
    assert_eq!(lines.iter().filter(bad).collect::<Vec<_>>(), [&""; 0]);
}

/// The lines of a back end's log that tell of anything wrong.
pub fn complaints(log: &Log) -> Vec<String> {
    let bad = |line: &&str| ["error", "warning", "panicked"].iter().any(|word| line.contains(word));
    log.text().lines().filter(bad).map(str::to_owned).collect()
}

/// What is wrong with a screen on which text should stand.
pub fn no_text(screen: &Image) -> Option<String> {
    (screen.colours() < 2 || screen.lit() < 200).then(|| format!("no text: {} pixels are lit", screen.lit()))
}
