//! Real devices, served by `vhost-user-input` to the fake front end, which plays each monitor and queues of any size.
//!
//! | file | what is so |
//! |---|---|
//! | `guest` | a guest of each device: its description, its events, what is held, its lights |
//! | `host` | the host's side: grabs, handovers, the hotkey, early errors |
//! | `gone` | a device that is pulled out, and comes back |

mod gone;
mod guest;
mod host;

use std::path::Path;

use seat_frontend::Deadline;
use seat_frontend::control::{FrontEnd, Qemu, Vmm};
use seat_frontend::input::{GuestInput, InputOptions, InputState, ids};
use seat_frontend::machine::{InputMachine, InputMachineOptions};
use seat_frontend::program::Program;
use seat_uinput::codes::*;
use seat_uinput::{Device, Event, Node};

/// The program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_vhost-user-input");

/// How long anything may take that must happen, in an emulated machine on a busy host.
fn soon() -> Deadline {
    Deadline::secs(60)
}

/// Monitors and queue sizes: QEMU's of all times, and others that know nothing of QEMU.
const MACHINES: [(Vmm, u16); 4] =
    [(Vmm::Qemu(Qemu::V11_1), 4), (Vmm::Qemu(Qemu::V7_2), 64), (Vmm::CloudHypervisor, 64), (Vmm::Plain, 1024)];

/// A machine of these, with a memory of its own.
fn machine((vmm, size): (Vmm, u16)) -> InputMachineOptions {
    InputMachineOptions { input: InputOptions::sized(size), ..InputMachineOptions::new(vmm).unwrap() }
}

/// A guest that has booted on the program with a real device.
struct Served {
    program: Program,
    vm: InputMachine,
    guest: GuestInput,
}

impl Served {
    fn boot(device: &Device) -> Served {
        Served::boot_with(device, &[], InputMachineOptions::qemu().unwrap())
    }

    fn boot_with(device: &Device, arguments: &[&str], machine: InputMachineOptions) -> Served {
        Served::on(listening(device.node(), arguments), machine)
    }

    fn on(program: Program, machine: InputMachineOptions) -> Served {
        let vm = boot_on(&program, machine);
        Served { guest: vm.guest(), program, vm }
    }

    /// Waits until the guest believes what the kernel says.
    fn agree(&mut self, node: &Node) {
        let truth = truth(node);
        self.vm.driver.feed_until(&mut self.guest, &truth, soon()).unwrap();
    }

    /// Waits until the guest holds nothing.
    fn let_go(&mut self) {
        let holds_nothing =
            |guest: &GuestInput| guest.held().is_empty() && guest.contacts().is_empty() && !guest.is_inside_frame();
        self.vm.driver.feed(&mut self.guest, soon(), holds_nothing).unwrap();
    }

    /// The next frame, without its end.
    fn frame(&mut self) -> Vec<Event> {
        let frame = self.vm.driver.frame(soon()).unwrap().to_vec();
        self.guest.apply_all(&frame).unwrap();
        let events = frame.iter().map(|event| (event.kind, event.code, event.value));
        events.filter(|event| *event != (EV_SYN, SYN_REPORT, 0)).collect()
    }
}

/// The program, listening, with a device.
fn listening(node: &Path, arguments: &[&str]) -> Program {
    let path = format!("--evdev-path={}", node.display());
    let arguments: Vec<&str> = std::iter::once(path.as_str()).chain(arguments.iter().copied()).collect();
    Program::listening(BINARY, &arguments, soon()).unwrap()
}

/// A machine that has booted on a program that runs already.
fn boot_on(program: &Program, machine: InputMachineOptions) -> InputMachine {
    let mut front = FrontEnd::connect(program.socket()).unwrap();
    front.set_timeout(std::time::Duration::from_secs(60));
    let mut vm = InputMachine::boot(front, machine).unwrap();
    vm.driver.set_timeout(std::time::Duration::from_secs(60));
    vm
}

/// How the device stands, as the kernel tells anybody who asks.
fn truth(node: &Node) -> InputState {
    let description = node.description().unwrap();
    let mut axes = description.axes.clone();
    let slots = axes.remove(&ABS_MT_SLOT).map_or(0, |slot| slot.maximum as usize + 1);
    let mut state = InputState::new(slots);
    node.keys_held().unwrap().into_iter().for_each(|code| assert!(state.set_key(code, true)));
    node.switches().unwrap().into_iter().for_each(|code| state.set_switch(code, true));
    for code in axes.into_keys() {
        if slots > 0 && (ids::abs::MT_TOUCH_MAJOR..=ids::abs::MT_TOOL_Y).contains(&code) {
            let values = node.slots(code).unwrap();
            values.into_iter().enumerate().for_each(|(slot, value)| state.set_slot_axis(slot, code, value));
        } else {
            state.set_axis(code, node.value(code).unwrap());
        }
    }
    if slots > 0 {
        state.set_slot(node.value(ABS_MT_SLOT).unwrap() as usize);
    }
    state
}

/// Two fingers on a touch screen.
const TWO_FINGERS: [Event; 8] = [
    (EV_ABS, ABS_MT_SLOT, 3),
    (EV_ABS, ABS_MT_TRACKING_ID, 30),
    (EV_ABS, ABS_MT_POSITION_X, 1000),
    (EV_ABS, ABS_MT_POSITION_Y, 1500),
    (EV_ABS, ABS_MT_SLOT, 5),
    (EV_ABS, ABS_MT_TRACKING_ID, 50),
    (EV_ABS, ABS_MT_POSITION_X, 2000),
    (EV_KEY, BTN_TOUCH, 1),
];
