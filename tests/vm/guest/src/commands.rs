//! The commands, their arguments and what they answer. Every one answers `OK` with JSON, or `ERR` with a reason.
//!
//! | command | does |
//! |---|---|
//! | `list` | probes all heads: `[{"name","connected","enabled","modes":["1280x800*",…],"edid":hex}]`, `*` marks the preferred mode |
//! | `show SEED WxH HEAD=WxH+X+Y…` | a new buffer of the first size with picture SEED, each head shows its part of it |
//! | `paint HEAD SEED X Y W H` | paints a rectangle of the head's buffer and flushes it (DIRTYFB with that clip) |
//! | `cursor HEAD SEED HOTX HOTY`, `move HEAD X Y`, `hide HEAD` | the 64×64 cursor |
//! | `off HEAD` | disables the head |
//! | `release` | closes the card: everything of ours goes, the text console comes back |
//! | `sync HEAD` | waits until the device has done all commands given before (a fenced command behind them) |
//! | `flip-bench HEAD N all\|small`, `dirty-bench HEAD N all\|small` | see `bench.rs`; the last frame stays on the screen |
//! | `device` | PCI ids and the negotiated virtio features of the gpu |
//! | `dmesg N` | the last N lines of the kernel's log |
//! | `console TEXT` | prints TEXT on the text console |
//! | `draw SIZE X Y` | draws the fractal on the text console's screen, by /dev/fb0 |
//! | `rebind` | takes the driver from its device and gives it back, as reloading the module does |
//! | `inputs` | all evdev nodes: `[{"node":"event0",…}]` with the canonical description of `seat-uinput` |
//! | `watch INPUT`, `frames N SECONDS INPUT` | opens a node, named `event0` or by its device's name, and keeps what comes; the next N frames, `[[[type,code,value],…],…]`, ERR with what there is when they don't come in time |
//! | `write TYPE CODE VALUE INPUT` | writes that event and a SYN_REPORT to the node |
//! | `state INPUT` | `{"keys":[],"leds":[],"sounds":[],"switches":[],"axes":{"0":5},"slots":{"57":[1,-1]}}` now |
//! | `exec ORDER` | runs a program of the host's root to its end: see `host.rs`, and `answer.rs` for the order |
//! | `start ORDER`, `wait`, `finish` | starts one, with an input on which nothing comes; waits for its end; ends its input and waits. One at a time |
//! | `ping`, `reboot`, `poweroff`, `crash` | the last panics the kernel |

use std::process::Stdio;
use std::time::Duration;

use nix::sys::reboot::RebootMode;
use seat_guest::answer::Order;
use seat_guest::picture::Rect;
use serde_json::{Value, json};

use crate::host::Started;
use crate::inputs::Inputs;
use crate::kms::{Kms, View};
use crate::{bench, facts, host, init, inputs};

/// What is kept from one command to the next.
#[derive(Default)]
pub struct Commands {
    /// The card, opened by the first command that needs it: until then the text console has the screen.
    kms: Option<Kms>,
    inputs: Inputs,
    /// Whether the host's root is mounted: the first program that runs there needs it.
    host_root: bool,
    started: Option<Started>,
    /// How the guest is to end once the answer is out.
    ending: Option<Ending>,
}

#[derive(Clone, Copy)]
enum Ending {
    Mode(RebootMode),
    Crash,
}

impl Commands {
    pub fn run(&mut self, line: &str) -> Result<String, String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        self.dispatch(verb, rest).map(|value| value.to_string())
    }

    fn dispatch(&mut self, verb: &str, rest: &str) -> Result<Value, String> {
        let mut args = Args(rest.split_whitespace());
        match verb {
            "list" => Ok(Value::Array(self.kms()?.list()?)),
            "show" => {
                let (seed, size) = (args.number("seed")?, args.size("size")?);
                let views = args.0.map(parse_view).collect::<Result<Vec<_>, _>>()?;
                self.kms()?.show(seed, size, &views).map(done)
            }
            "paint" => {
                let (head, seed) = (args.number("head")?, args.number("seed")?);
                let (x, y) = (args.number("x")?, args.number("y")?);
                let rect = Rect::new(x, y, args.number("width")?, args.number("height")?);
                self.kms()?.paint(head, seed, rect).map(done)
            }
            "cursor" => {
                let (head, seed) = (args.number("head")?, args.number("seed")?);
                let hot = (args.number("hot x")?, args.number("hot y")?);
                self.kms()?.cursor(head, seed, hot).map(done)
            }
            "move" => {
                let (head, x, y) = (args.number("head")?, args.number("x")?, args.number("y")?);
                self.kms()?.move_cursor(head, x, y).map(done)
            }
            "hide" => self.kms()?.hide_cursor(args.number("head")?).map(done),
            "off" => self.kms()?.off(args.number("head")?).map(done),
            "sync" => self.kms()?.sync(args.number("head")?).map(done),
            "release" => {
                self.kms = None;
                Ok(Value::Null)
            }
            "flip-bench" | "dirty-bench" => {
                let (head, frames) = (args.number("head")?, args.number("frames")?);
                let change = bench::Change::parse(args.word("all or small")?)?;
                let kms = self.kms()?;
                if verb == "flip-bench" {
                    bench::flip(kms, head, frames, change)
                } else {
                    bench::dirty(kms, head, frames, change)
                }
            }
            "device" => facts::device(),
            "dmesg" => facts::dmesg(args.number("lines")?),
            "console" => facts::console(rest).map(done),
            "draw" => facts::draw(args.number("size")?, args.number("x")?, args.number("y")?).map(done),
            "rebind" => {
                self.kms = None;
                facts::rebind().map(done)
            }
            "inputs" => inputs::list(),
            "watch" => self.inputs.watch(rest).map(done),
            "frames" => {
                let (count, seconds) = (args.number("frames")?, args.number("seconds")?);
                self.inputs.frames(&args.rest(), count, Duration::from_secs(seconds))
            }
            "write" => {
                let event = (args.number("type")?, args.number("code")?, args.number("value")?);
                inputs::write(&args.rest(), event).map(done)
            }
            "state" => inputs::state(rest),
            "exec" => self.program(rest, Stdio::null())?.wait(),
            "start" if self.started.is_none() => {
                self.started = Some(self.program(rest, Stdio::piped())?);
                Ok(Value::Null)
            }
            "start" => Err("another program runs".to_owned()),
            "wait" | "finish" => {
                let mut started = self.started.take().ok_or("no program was started")?;
                if verb == "finish" {
                    started.hang_up();
                }
                started.wait()
            }
            "ping" => Ok(json!("pong")),
            "reboot" => Ok(self.end(Ending::Mode(RebootMode::RB_AUTOBOOT))),
            "poweroff" => Ok(self.end(Ending::Mode(RebootMode::RB_POWER_OFF))),
            "crash" => Ok(self.end(Ending::Crash)),
            _ => Err(format!("no such command: {verb}")),
        }
    }

    /// Called when the answer is out: ends the guest if that was asked.
    pub fn after(&mut self) {
        match self.ending.take() {
            Some(Ending::Mode(mode)) => println!("seat-guest: {}", init::end(mode)),
            Some(Ending::Crash) => println!("seat-guest: {:?}", facts::crash()),
            None => {}
        }
    }

    fn end(&mut self, how: Ending) -> Value {
        self.ending = Some(how);
        Value::Null
    }

    fn program(&mut self, order: &str, input: Stdio) -> Result<Started, String> {
        let order = Order::decode(order).ok_or("not an order")?;
        if !self.host_root {
            host::mount_root()?;
            self.host_root = true;
        }
        Started::new(&order, input)
    }

    fn kms(&mut self) -> Result<&mut Kms, String> {
        let kms = match self.kms.take() {
            Some(kms) => kms,
            None => Kms::open()?,
        };
        Ok(self.kms.insert(kms))
    }
}

fn done((): ()) -> Value {
    Value::Null
}

/// The arguments, taken one by one; what is missing or no number is named in the error.
struct Args<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Args<'a> {
    fn word(&mut self, name: &str) -> Result<&'a str, String> {
        self.0.next().ok_or_else(|| format!("missing: {name}"))
    }

    fn number<T: std::str::FromStr>(&mut self, name: &str) -> Result<T, String> {
        let word = self.word(name)?;
        word.parse().map_err(|_| format!("{name}: not a number in range: {word}"))
    }

    /// What is left, with one space between words.
    fn rest(self) -> String {
        self.0.collect::<Vec<_>>().join(" ")
    }

    fn size(&mut self, name: &str) -> Result<(u32, u32), String> {
        let word = self.word(name)?;
        parse_size(word).ok_or_else(|| format!("{name}: not WxH: {word}"))
    }
}

fn parse_size(word: &str) -> Option<(u32, u32)> {
    let (width, height) = word.split_once('x')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

/// `HEAD=WxH+X+Y`
fn parse_view(word: &str) -> Result<View, String> {
    let parse = || {
        let (head, rest) = word.split_once('=')?;
        let mut parts = rest.split('+');
        let (width, height) = parse_size(parts.next()?)?;
        let (x, y) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(View { head: head.parse().ok()?, part: Rect::new(x, y, width, height) })
    };
    parse().ok_or_else(|| format!("not HEAD=WxH+X+Y: {word}"))
}
