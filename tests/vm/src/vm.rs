//! A machine that runs: its guest, its QMP, its screen.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use seat_guest::answer::{self, Order};
use serde_json::{Value, json};

use crate::config::{Config, Display, GPU_ID, Gpu};
use crate::dbus::Bus;
use crate::error::{Context, Error, Result};
use crate::image::Image;
use crate::lab::Lab;
use crate::lines::{Lines, accept};
use crate::log::Log;
use crate::process::{Process, deadline};
use crate::qmp::Qmp;
use crate::workdir::Workdir;

/// How a program ended that ran in the guest.
#[derive(Clone, Debug)]
pub struct Ended {
    /// `None` when a signal ended it.
    pub status: Option<i64>,
    /// The last 256 KiB of its standard output.
    pub output: String,
    /// The same of its standard error.
    pub errors: String,
}

/// A running machine; QEMU is killed when this is dropped.
pub struct Vm {
    // Dropped in this order: QEMU before the bus and the folder that it uses.
    qemu: Process,
    qmp: Qmp,
    commands: Lines,
    console: Log,
    bus: Option<Bus>,
    folder: Workdir,
    number: u64,
    patience: Duration,
}

impl Vm {
    pub(crate) fn start(config: &Config, lab: &Lab) -> Result<Vm> {
        let (folder, patience) = (Workdir::new()?, config.patience);
        let bus = if config.display == Display::Dbus { Some(Bus::start(&folder, patience)?) } else { None };
        let listen = |name| UnixListener::bind(folder.join(name)).context(format_args!("socket {name}"));
        let (console, commands, qmp) = (listen("console")?, listen("commands")?, listen("qmp")?);

        let arguments = config.command_line(lab, folder.path())?;
        let inherited = config.gpu.as_ref().map(Gpu::inherited).transpose()?.flatten();
        let qemu = Process::start_with("QEMU", lab.qemu, arguments, &folder.join("qemu.log"), inherited)?;
        let until = deadline(patience);
        let connection = |listener| await_connection(&qemu, listener, until);
        let console = Log::drain("guest console", connection(&console)?, &folder.join("console.log"))?;
        let commands = Lines::new("guest", connection(&commands)?);
        let qmp = Qmp::connect(connection(&qmp)?, patience);
        let qmp = qmp.map_err(|error| {
            qemu.settle();
            Error::Failed(format!("QEMU did not start: {error}\n{}", qemu.log().tail(40)))
        })?;
        Ok(Vm { qemu, qmp, commands, console, bus, folder, number: 0, patience })
    }

    /// Waits until the guest takes commands: after a start, and again after each reboot.
    pub fn wait_ready(&mut self) -> Result<()> {
        let until = deadline(self.patience);
        loop {
            match self.commands.next(until) {
                // The firmware speaks on this port as well, so the word may stand behind other bytes.
                Ok(line) if line.ends_with(answer::READY) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(self.with_logs(error.context("waiting for the guest"))),
            }
        }
    }

    /// Gives the guest a command and waits for its answer; see `guest/src/commands.rs` for what there is. The guest's ERR
    /// is a refusal.
    pub fn guest(&mut self, command: &str) -> Result<Value> {
        self.guest_begin(command)
            .and_then(|()| self.guest_end())
            .map_err(|error| error.context(format_args!("guest: {command}")))
    }

    /// Gives the guest a command and does not wait: [`Vm::guest_end`] does, or nobody if the guest comes to its end.
    pub fn guest_begin(&mut self, command: &str) -> Result<()> {
        self.number += 1;
        let sent = self.commands.send(&format!("{} {command}", self.number));
        sent.map_err(|e| self.with_logs(e))
    }

    /// Waits for the answer to [`Vm::guest_begin`].
    pub fn guest_end(&mut self) -> Result<Value> {
        let text = self.answer().map_err(|e| self.with_logs(e))?.map_err(Error::Refused)?;
        serde_json::from_str(&text).map_err(|e| Error::Failed(format!("{e}: {text}")))
    }

    /// What the guest says to the last command that it was given.
    fn answer(&mut self) -> Result<std::result::Result<String, String>> {
        let until = deadline(self.patience);
        loop {
            let line = self.commands.next(until)?;
            match answer::decode(&line) {
                Some((n, result)) if n == self.number => return Ok(result),
                // Late answers to commands that were given up.
                _ => {}
            }
        }
    }

    /// Runs a program of the host's root in the guest, to its end; needs [`Config::uinput`] or [`Config::host_root`]. What
    /// it prints is on the guest's console meanwhile.
    pub fn exec(&mut self, order: &Order) -> Result<Ended> {
        self.guest(&format!("exec {}", order.encode())).map(ended)
    }

    /// Starts a program as [`Vm::exec`] does and does not wait; its input stays open, and nothing comes on it.
    pub fn start_program(&mut self, order: &Order) -> Result<()> {
        self.guest(&format!("start {}", order.encode())).map(drop)
    }

    /// Waits for the end of what [`Vm::start_program`] has started.
    pub fn wait_program(&mut self) -> Result<Ended> {
        self.guest("wait").map(ended)
    }

    /// Closes the input of what [`Vm::start_program`] has started, and waits for its end.
    pub fn finish_program(&mut self) -> Result<Ended> {
        self.guest("finish").map(ended)
    }

    /// Waits until the device has done what the guest told it for this head: by a fenced command behind all others.
    pub fn sync(&mut self, head: u32) -> Result<()> {
        self.guest(&format!("sync {head}")).map(drop)
    }

    /// Changes how long to wait from now on, as for a bench that takes its time.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Repeats a question until its answer pleases, as when a new head is to appear. Gives that answer.
    pub fn guest_until(&mut self, command: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let until = deadline(self.patience);
        loop {
            let answer = self.guest(command)?;
            if wanted(&answer) {
                return Ok(answer);
            }
            if Instant::now() >= until {
                return Err(self.with_logs(Error::Failed(format!("guest: {command}: the last answer is {answer}"))));
            }
        }
    }

    /// Runs a QMP command.
    pub fn qmp(&mut self, command: &str, arguments: Value) -> Result<Value> {
        self.qmp.execute(command, arguments, self.patience).map_err(|e| self.with_logs(e))
    }

    /// Waits for a QMP event and gives its data.
    pub fn wait_event(&mut self, name: &str) -> Result<Value> {
        self.qmp.wait_event(name, self.patience).map_err(|e| self.with_logs(e))
    }

    /// Forgets the events that came so far, so that [`Vm::wait_event`] waits for a new one.
    pub fn forget_events(&mut self) {
        self.qmp.forget_events();
    }

    /// What the head shows now. The cursor is not in it. A head that shows nothing gives QEMU's placeholder or a refusal.
    pub fn screendump(&mut self, head: u32) -> Result<Image> {
        let file = self.folder.join("screen.ppm");
        self.dump(head, &file, "ppm")?;
        let bytes = fs::read(&file).context(file.display())?;
        Image::from_ppm(&bytes)
    }

    /// The same as a PNG, for people.
    pub fn screendump_png(&mut self, head: u32, file: &Path) -> Result<()> {
        let file = std::path::absolute(file).context(file.display())?;
        self.dump(head, &file, "png")
    }

    fn dump(&mut self, head: u32, file: &Path, format: &str) -> Result<()> {
        let file = file.to_string_lossy();
        self.qmp("screendump", json!({"filename": file, "device": GPU_ID, "head": head, "format": format})).map(drop)
    }

    /// Takes screendumps until one is `expected`, pixel by pixel. The error tells the difference and where a PNG of the
    /// last one lies.
    pub fn wait_screen(&mut self, head: u32, expected: &Image) -> Result<()> {
        self.wait_picture(head, |shown| shown.difference(expected))
    }

    /// Takes screendumps until `fault` finds none.
    pub fn wait_picture(&mut self, head: u32, fault: impl Fn(&Image) -> Option<String>) -> Result<()> {
        // A picture is there in tenths of a second or, as a rule, never.
        self.wait_picture_for(self.patience.min(Duration::from_secs(20)), head, fault)
    }

    /// The same for what a program shows that has to be loaded before, as an answer is waited for.
    pub fn wait_program_picture(&mut self, head: u32, fault: impl Fn(&Image) -> Option<String>) -> Result<()> {
        self.wait_picture_for(self.patience, head, fault)
    }

    /// Waits until the head shows a DMABUF, of which QEMU has no pixels.
    pub fn wait_dmabuf(&mut self, head: u32) -> Result<()> {
        let until = deadline(self.patience);
        loop {
            match self.screendump(head) {
                Err(error) if error.is_refusal() && error.to_string().contains("no surface") => return Ok(()),
                _ if Instant::now() >= until => {
                    return Err(self.with_logs(Error::Failed(format!("head {head} shows no DMABUF"))));
                }
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn wait_picture_for(
        &mut self,
        patience: Duration,
        head: u32,
        fault: impl Fn(&Image) -> Option<String>,
    ) -> Result<()> {
        let until = deadline(patience);
        loop {
            let Some(why) = fault(&self.screendump(head)?) else { return Ok(()) };
            if Instant::now() >= until {
                let file = std::env::temp_dir().join(format!("seat-vm-wrong-{}-{head}.png", std::process::id()));
                let kept = match self.screendump_png(head, &file) {
                    Ok(()) => format!("the screen is in {}", file.display()),
                    Err(error) => error.to_string(),
                };
                return Err(self.with_logs(Error::Failed(format!("head {head}: {why}; {kept}"))));
            }
        }
    }

    /// Tells QEMU that a window of this size shows the head, as if a person had opened or dragged one; 0×0 closes it.
    /// Needs [`Config::dbus`].
    pub fn set_ui_info(&mut self, head: u32, width: u32, height: u32) -> Result<()> {
        let bus = self.bus.as_ref().ok_or_else(|| Error::Failed("set_ui_info needs Config::dbus".to_owned()))?;
        bus.set_ui_info(head, width, height).map_err(|e| self.with_logs(e))
    }

    /// Presses the machine's reset button and waits for the guest to be up again. Needs [`Config::reboots`].
    pub fn reset(&mut self) -> Result<()> {
        self.qmp("system_reset", json!({}))?;
        self.wait_ready()
    }

    /// Lets the guest reboot by itself and waits for it to be up again. Needs [`Config::reboots`].
    pub fn reboot(&mut self) -> Result<()> {
        self.guest("reboot")?;
        self.wait_ready()
    }

    /// Lets the guest power off and waits for QEMU's end.
    pub fn power_off(&mut self) -> Result<ExitStatus> {
        self.guest("poweroff")?;
        self.wait_exit()
    }

    pub fn wait_exit(&mut self) -> Result<ExitStatus> {
        self.qemu.wait_exit(self.patience)
    }

    /// Kills QEMU at once, as a crash would end it, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.qemu.signal(Signal::SIGKILL)?;
        self.wait_exit().map(drop)
    }

    /// The QEMU process, for its processor time and its log.
    pub fn qemu(&self) -> &Process {
        &self.qemu
    }

    /// What kernel and init print on the first serial port.
    pub fn console(&self) -> &Log {
        &self.console
    }

    fn with_logs(&self, error: Error) -> Error {
        match error {
            Error::Failed(text) => {
                self.qemu.settle();
                let alive = if self.qemu.is_running() { "QEMU runs" } else { "QEMU has ended" };
                Error::Failed(format!("{text}\n{alive}\n{}{}", self.qemu.log().tail(30), self.console.tail(30)))
            }
            other => other,
        }
    }
}

/// A program's end as the guest tells it.
fn ended(mut answer: Value) -> Ended {
    let mut text = |name: &str| match answer[name].take() {
        Value::String(text) => text,
        _ => String::new(),
    };
    let (output, errors) = (text("output"), text("errors"));
    Ended { status: answer["status"].as_i64(), output, errors }
}

/// QEMU connects to us while it starts; when it ends instead, its log says why.
fn await_connection(qemu: &Process, listener: &UnixListener, until: Instant) -> Result<std::os::unix::net::UnixStream> {
    const LOOK: Duration = Duration::from_millis(100);
    loop {
        if let Some(stream) = accept(listener, LOOK)? {
            return Ok(stream);
        }
        if !qemu.is_running() || Instant::now() >= until {
            qemu.settle();
            let why = if qemu.is_running() { "does not connect" } else { "ended while it started" };
            return Err(Error::Failed(format!("QEMU {why}\n{}", qemu.log().tail(40))));
        }
    }
}
