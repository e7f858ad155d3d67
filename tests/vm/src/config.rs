//! What a machine is to look like, and the command line that makes it so.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Context, Result};
use crate::lab::{Drivers, Lab};
use crate::process::INHERITED;
use crate::vm::Vm;

/// The id of the gpu in QEMU, for QMP.
pub const GPU_ID: &str = "gpu0";

/// The host's root by 9p. Its mounts have inode numbers of their own, which are told apart.
const ROOT_DEVICE: [&str; 4] = [
    "-fsdev",
    "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
    "-device",
    "virtio-9p-pci,fsdev=host,mount_tag=host",
];

/// All that QEMU emulates, as a processor of AMD's of our days: by the family that it has otherwise, LLVM takes it for one
/// without 64-bit code, and then Mesa can't draw in software.
const PROCESSOR: &str = "max,family=25,model=1,stepping=1";

/// What a kernel without a screen, a disk and a network can leave out at its start, by what it costs.
const LEFT_OUT: &str = "trace_eval_init,jent_mod_init,inet6_init,bpf_tcp_ca_kfunc_init,load_system_certificate_list,\
    crypto_kdf108_init,bpf_dummy_struct_ops_init,cmos_init";

/// The machine's screen.
#[derive(Clone, Debug)]
pub enum Gpu {
    /// QEMU's own device, the one to compare with.
    InProcess,
    /// QEMU's own device that is also a VGA.
    InProcessVga,
    /// `vhost-user-gpu-pci` on a socket.
    VhostUser(PathBuf),
    /// `vhost-user-vga` on a socket: what libvirt makes of the primary display.
    VhostUserVga(PathBuf),
    /// `vhost-user-gpu-pci` on a socket that is connected already.
    Connected(Arc<OwnedFd>),
}

impl Gpu {
    pub fn vhost_user(socket: impl Into<PathBuf>) -> Self {
        Gpu::VhostUser(socket.into())
    }

    pub fn vhost_user_vga(socket: impl Into<PathBuf>) -> Self {
        Gpu::VhostUserVga(socket.into())
    }

    /// The end of [`Backend::start_connected`](crate::Backend::start_connected). It stays open as long as this value, or
    /// the [`Config`] made of it: until then the back end sees nobody hang up.
    pub fn connected(end: OwnedFd) -> Self {
        Gpu::Connected(Arc::new(end))
    }

    fn device(&self) -> &'static str {
        match self {
            Gpu::InProcess => "virtio-gpu-pci",
            Gpu::InProcessVga => "virtio-vga",
            Gpu::VhostUser(_) | Gpu::Connected(_) => "vhost-user-gpu-pci",
            Gpu::VhostUserVga(_) => "vhost-user-vga",
        }
    }

    /// What stands behind `-chardev socket,id=gpu,`.
    fn chardev(&self) -> Option<String> {
        match self {
            Gpu::InProcess | Gpu::InProcessVga => None,
            Gpu::VhostUser(socket) | Gpu::VhostUserVga(socket) => Some(format!("path={}", socket.display())),
            Gpu::Connected(_) => Some(format!("fd={INHERITED}")),
        }
    }

    /// What QEMU is to inherit.
    pub(crate) fn inherited(&self) -> Result<Option<OwnedFd>> {
        match self {
            Gpu::Connected(end) => end.try_clone().map(Some).context("dup"),
            _ => Ok(None),
        }
    }
}

/// Who looks at the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Display {
    None,
    Dbus,
    EglHeadless(PathBuf),
}

impl Display {
    fn option(&self, folder: &Path) -> String {
        match self {
            Display::None => "none".to_owned(),
            Display::Dbus => format!("dbus,addr=unix:path={}", folder.join("bus").display()),
            Display::EglHeadless(node) => format!("egl-headless,rendernode={}", node.display()),
        }
    }
}

/// A machine to be; each method sets one thing.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) gpu: Option<Gpu>,
    drivers: Drivers,
    nested: bool,
    max_outputs: Option<u32>,
    resolution: Option<(u32, u32)>,
    memory_mib: u32,
    text_console: bool,
    reboots: bool,
    kernel_words: String,
    arguments: Vec<String>,
    pub(crate) display: Display,
    pub(crate) patience: Duration,
}

impl Config {
    /// A machine with a screen.
    pub fn new(gpu: Gpu) -> Self {
        Config { gpu: Some(gpu), ..Config::without_screen(Drivers::Gpu) }
    }

    /// A machine that has uinput and runs programs of this host ([`Vm::exec`]): it sees the host's root, read-only.
    pub fn uinput() -> Self {
        Config::without_screen(Drivers::Uinput).arguments(ROOT_DEVICE)
    }

    /// Lets a machine with a screen run programs of this host as well.
    pub fn host_root(self) -> Self {
        Config { drivers: Drivers::GpuAndRoot, ..self }.arguments(ROOT_DEVICE)
    }

    /// Gives a machine with the host's root KVM as well, for a second machine in it ([`Config::nested`]).
    pub fn with_kvm(self) -> Self {
        let drivers = if self.gpu.is_some() { Drivers::GpuRootAndKvm } else { Drivers::UinputAndKvm };
        Config { drivers, ..self }
    }

    /// A machine inside of such a machine, with the drivers of virtio inputs.
    pub fn nested() -> Self {
        Config { memory_mib: 192, ..Config::without_screen(Drivers::Input) }.inside()
    }

    /// Makes it one for the inside of another, where each instruction of the boot counts: no ACPI, no keyboard controller,
    /// and none of what the kernel would test of itself. It uses KVM where that is: emulation of one level of instructions
    /// instead of two, ten times as quick.
    pub fn inside(self) -> Self {
        Config { nested: true, ..self }
    }

    fn without_screen(drivers: Drivers) -> Self {
        Config {
            gpu: None,
            drivers,
            nested: false,
            max_outputs: None,
            resolution: None,
            memory_mib: 512,
            text_console: true,
            reboots: false,
            kernel_words: String::new(),
            arguments: Vec::new(),
            display: Display::None,
            patience: Duration::from_secs(60),
        }
    }

    /// The device's property of that name.
    pub fn max_outputs(mut self, heads: u32) -> Self {
        self.max_outputs = Some(heads);
        self
    }

    /// The device's properties `xres` and `yres`.
    pub fn resolution(mut self, width: u32, height: u32) -> Self {
        self.resolution = Some((width, height));
        self
    }

    pub fn memory_mib(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Keeps the kernel's text console away from the screen: nothing draws but the guest's program.
    pub fn no_text_console(mut self) -> Self {
        self.text_console = false;
        self
    }

    /// A reboot of the guest starts it again; without this it ends QEMU.
    pub fn reboots(mut self) -> Self {
        self.reboots = true;
        self
    }

    /// `-display dbus` on a private bus, for [`Vm::set_ui_info`]. Without it the display is `none`.
    pub fn dbus(mut self) -> Self {
        self.display = Display::Dbus;
        self
    }

    /// `-display egl-headless` on a GPU: what is shown may be a DMABUF.
    pub fn egl_headless(mut self, render_node: impl Into<PathBuf>) -> Self {
        self.display = Display::EglHeadless(render_node.into());
        self
    }

    /// Further words for the kernel's command line.
    pub fn kernel_words(mut self, words: &str) -> Self {
        self.kernel_words = format!("{words} ");
        self
    }

    /// Further arguments for QEMU.
    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// An input that QEMU reads from an evdev node by itself: the device to compare with.
    pub fn input_of_node(self, node: &Path) -> Self {
        self.arguments(["-device".to_owned(), format!("virtio-input-host-pci,evdev={}", node.display())])
    }

    /// A `vhost-user-input-pci` on a socket.
    pub fn input_on_socket(self, socket: &Path) -> Self {
        // The socket's place among the arguments is a name that no other has.
        let name = format!("input{}", self.arguments.len());
        self.arguments([
            "-chardev".to_owned(),
            format!("socket,id={name},path={}", socket.display()),
            "-device".to_owned(),
            format!("vhost-user-input-pci,chardev={name}"),
        ])
    }

    /// How long to wait for the boot, and for each answer (60 s): emulation on a loaded machine is slow.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Starts QEMU; comes back when its QMP answers, before the guest has booted.
    pub fn start(&self, lab: &Lab) -> Result<Vm> {
        Vm::start(self, lab)
    }

    /// Starts QEMU and waits until the guest takes commands.
    pub fn boot(&self, lab: &Lab) -> Result<Vm> {
        let mut vm = self.start(lab)?;
        vm.wait_ready()?;
        Ok(vm)
    }

    /// QEMU's arguments. The sockets in `folder` are ours: QEMU connects to them, so no one has to guess when they are
    /// there.
    pub(crate) fn command_line(&self, lab: &Lab, folder: &Path) -> Result<Vec<String>> {
        let memory = self.memory_mib;
        let chosen = std::env::var("VHOST_SEAT_VM_ACCEL").ok();
        let socket = |name: &str| format!("socket,id={name},path={}", folder.join(name).display());
        let mut args: Vec<String> = Vec::new();
        let mut add = |option: &str, value: String| args.extend([option.to_owned(), value]);
        // A nested machine's processor has little that a kernel could try out, for where there is no KVM.
        let (machine, processor) = if self.nested { ("q35,i8042=off", "qemu64") } else { ("q35", PROCESSOR) };
        add("-machine", format!("{machine},memory-backend=mem"));
        // The back end maps the guest's memory: it has to be shared.
        add("-object", format!("memory-backend-memfd,id=mem,size={memory}M,share=on"));
        add("-m", format!("{memory}M"));
        match chosen {
            Some(accelerator) => add("-accel", accelerator),
            None => {
                // The first that works.
                if self.nested {
                    add("-accel", "kvm".to_owned());
                }
                add("-accel", "tcg,thread=multi".to_owned());
            }
        }
        add("-cpu", processor.to_owned());
        add("-kernel", lab.kernel.display().to_string());
        add("-initrd", lab.initramfs(self.drivers)?.display().to_string());
        add("-append", self.kernel_arguments());
        for (name, option, value) in [
            ("console", "-serial", "chardev:console"),
            ("commands", "-serial", "chardev:commands"),
            ("qmp", "-mon", "chardev=qmp,mode=control"),
        ] {
            add("-chardev", socket(name));
            add(option, value.to_owned());
        }
        add("-display", self.display.option(folder));
        if let Some(gpu) = &self.gpu {
            if let Some(chardev) = gpu.chardev() {
                add("-chardev", format!("socket,id=gpu,{chardev}"));
            }
            add("-device", self.device(gpu));
        }
        args.extend(["-nodefaults", "-no-user-config", "-monitor", "none"].map(str::to_owned));
        if !self.reboots {
            args.push("-no-reboot".to_owned());
        }
        args.extend_from_slice(&self.arguments);
        Ok(args)
    }

    fn device(&self, gpu: &Gpu) -> String {
        let mut device = format!("{},id={GPU_ID}", gpu.device());
        if gpu.chardev().is_some() {
            device += ",chardev=gpu";
        }
        if let Some(heads) = self.max_outputs {
            device += &format!(",max_outputs={heads}");
        }
        if let Some((width, height)) = self.resolution {
            device += &format!(",xres={width},yres={height}");
        }
        device
    }

    /// What makes an emulated boot quick; the last console is where the kernel speaks.
    fn kernel_arguments(&self) -> String {
        let map = if self.text_console { "" } else { "fbcon=map:9 " };
        let less = if self.nested { format!("acpi=off initcall_blacklist={LEFT_OUT} ") } else { String::new() };
        format!(
            "mitigations=off cryptomgr.notests tsc=reliable no_timer_check random.trust_cpu=on panic=-1 quiet \
             {map}{less}{}console=tty0 console=ttyS0",
            self.kernel_words
        )
    }
}
