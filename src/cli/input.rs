//! What the command line of `vhost-user-input` has of its own.

use std::fs;
use std::path::{Path, PathBuf};

use lexopt::Parser;
use log::warn;

use super::options::{self, UsageError};
use super::{Failure, Program, Start};
use crate::input::evdev::EvdevPath;
use crate::input::toggle::Keys;
use crate::input::{Input, Options};
use crate::sandbox::{Needs, calls};

/// The program `vhost-user-input` and its options.
#[derive(Debug, Default)]
pub struct InputProgram {
    pub evdev_path: Option<PathBuf>,
    pub no_grab: Option<()>,
    pub exit_on_unplug: Option<()>,
    pub grab_toggle: Option<Keys>,
}

impl Program for InputProgram {
    const NAME: &'static str = "vhost-user-input";
    const DEVICE_TYPE: &'static str = "input";
    const PURPOSE: &'static str = "an input device of this host for a virtual machine, served over vhost-user";
    const HELP: &'static str = "  --evdev-path=PATH       the device: /dev/input/event*, or a link to one
  --no-grab               leave the device to the host as well
  --grab-toggle=KEYS      a hotkey on the device that gives it to the host and back: ctrl-ctrl, alt-alt,
                          shift-shift, meta-meta, scrolllock or ctrl-scrolllock
  --exit-on-unplug        end, with status 1, when the device is unplugged, instead of waiting for it
";

    /// Both always work.
    fn features() -> Vec<&'static str> {
        vec!["evdev-path", "no-grab"]
    }

    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<(), UsageError> {
        match name {
            "evdev-path" => options::set(&mut self.evdev_path, name, PathBuf::from(parser.value()?)),
            "no-grab" => options::set(&mut self.no_grab, name, ()),
            "exit-on-unplug" => options::set(&mut self.exit_on_unplug, name, ()),
            "grab-toggle" => {
                let value = parser.value()?;
                let keys = value.to_str().and_then(Keys::by_name).ok_or_else(|| {
                    let names = "not one of ctrl-ctrl, alt-alt, shift-shift, meta-meta, scrolllock, ctrl-scrolllock";
                    UsageError::value(name, value, names)
                })?;
                options::set(&mut self.grab_toggle, name, keys)
            }
            _ => Err(UsageError::Unknown(name.to_owned())),
        }
    }

    fn check(&self) -> Result<(), UsageError> {
        match self {
            Self { evdev_path: None, .. } => Err(UsageError::Missing("--evdev-path=PATH")),
            Self { no_grab: Some(()), grab_toggle: Some(_), .. } => {
                Err(UsageError::Excluded("--no-grab", "--grab-toggle"))
            }
            _ => Ok(()),
        }
    }

    fn serve(self, start: Start) -> Result<(), Failure> {
        let path = self.evdev_path.unwrap_or_default();
        let options = Options {
            grab: self.no_grab.is_none(),
            exit_on_unplug: self.exit_on_unplug.is_some(),
            toggle: self.grab_toggle,
        };
        let needs = needs(&path, &options);
        let (waits, node) = (!options.exit_on_unplug, path.clone());
        let warns = waits && start.sandbox.is_some();
        start.serve(needs, || {
            let input = Input::open(EvdevPath(path.clone()), options).map_err(|error| Failure::Evdev(path, error))?;
            if warns {
                warn_if_alone(&node);
            }
            Ok(input)
        })
    }
}

/// The node, and to open it again: links are followed wherever they are, but the node has to be in the folder where it is
/// now.
fn needs(path: &Path, options: &Options) -> Needs {
    let mut needs = Needs { calls: vec![calls::EVDEV], ..Needs::default() };
    if !options.exit_on_unplug {
        needs.calls.push(calls::REPLUG);
        needs.opens_in.extend(folder_of_node(path));
    }
    needs
}

fn folder_of_node(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()?.parent().map(Path::to_owned)
}

/// Says it where the device may not be found again: Linux removes an empty `/dev/input`, and the sandbox has no right to the
/// next one.
fn warn_if_alone(path: &Path) {
    let Some(folder) = folder_of_node(path) else { return };
    let count = fs::read_dir(&folder).map_or(0, |entries| entries.flatten().take(2).count());
    if count == 1 {
        warn!(
            "{path:?} is alone in {folder:?}: if that goes with it when it is unplugged, the sandbox keeps this program from \
             the next one (--no-sandbox does not)"
        );
    }
}
