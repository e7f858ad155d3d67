//! The guest's input devices, as their evdev nodes show them.
//!
//! A node that is watched has a thread that reads it all the time: what comes between two questions is not lost to the
//! kernel's short buffer.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use seat_uinput::codes::{EV_ABS, EV_SYN, SYN_REPORT};
use seat_uinput::{Event, Node, nodes};
use serde_json::{Value, json};

/// First and last of the axes that each slot has for itself.
const OF_SLOTS: std::ops::RangeInclusive<u16> = 0x30..=0x3d;
/// Longer than any guest lives.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// All evdev nodes with their descriptions.
pub fn list() -> Result<Value, String> {
    let mut all = Vec::new();
    for path in nodes().map_err(|e| format!("/dev/input: {e}"))? {
        let node = Node::open(&path).and_then(|node| node.description());
        let mut description = node.map_err(|e| format!("{}: {e}", path.display()))?.to_json();
        description["node"] = json!(path.file_name().map(|name| name.to_string_lossy()));
        all.push(description);
    }
    Ok(Value::Array(all))
}

/// The node of that name, as `event0`, or the first whose device has the name.
fn find(input: &str) -> Result<PathBuf, String> {
    for path in nodes().map_err(|e| format!("/dev/input: {e}"))? {
        if path.ends_with(input) {
            return Ok(path);
        }
        // A node may vanish while it is looked at.
        let named = Node::open(&path).and_then(|node| node.description()).is_ok_and(|d| d.name == input);
        if named {
            return Ok(path);
        }
    }
    Err(format!("no such input: {input}"))
}

fn open(input: &str) -> Result<Node, String> {
    let path = find(input)?;
    Node::open(&path).map_err(|e| format!("{}: {e}", path.display()))
}

type Frame = Vec<Event>;

/// The nodes that are watched, by the name under which they were asked for.
#[derive(Default)]
pub struct Inputs {
    watched: HashMap<String, Receiver<io::Result<Frame>>>,
}

impl Inputs {
    /// Opens a node and keeps what comes; asked again, it forgets what came.
    pub fn watch(&mut self, input: &str) -> Result<(), String> {
        let mut node = open(input)?;
        let (sender, frames) = channel();
        std::thread::spawn(move || {
            loop {
                let frame = node.next_frame(Instant::now() + FOR_EVER);
                let over = frame.is_err();
                if sender.send(frame).is_err() || over {
                    return;
                }
            }
        });
        self.watched.insert(input.to_owned(), frames);
        Ok(())
    }

    /// The next frames of a watched node.
    pub fn frames(&mut self, input: &str, count: usize, patience: Duration) -> Result<Value, String> {
        let incoming = self.watched.get(input).ok_or_else(|| format!("not watched: {input}"))?;
        let until = Instant::now() + patience;
        let mut frames: Vec<Frame> = Vec::new();
        while frames.len() < count {
            let why = match incoming.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ok(frame)) => {
                    frames.push(frame);
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(RecvTimeoutError::Timeout) => "no more in time".to_owned(),
                Err(RecvTimeoutError::Disconnected) => "it has ended".to_owned(),
            };
            return Err(format!("{input}: {why}; there are {}", json!(frames)));
        }
        Ok(json!(frames))
    }
}

/// Writes an event and the end of its frame to the node.
pub fn write(input: &str, event: Event) -> Result<(), String> {
    open(input)?.write(&[event, (EV_SYN, SYN_REPORT, 0)]).map_err(|e| format!("{input}: {e}"))
}

/// How the device stands now.
pub fn state(input: &str) -> Result<Value, String> {
    read_state(&open(input)?).map_err(|e| format!("{input}: {e}"))
}

fn read_state(node: &Node) -> io::Result<Value> {
    let mut axes = serde_json::Map::new();
    let mut slots = serde_json::Map::new();
    for &axis in node.description()?.codes.get(&EV_ABS).into_iter().flatten() {
        if OF_SLOTS.contains(&axis) {
            slots.insert(axis.to_string(), json!(node.slots(axis)?));
        } else {
            axes.insert(axis.to_string(), json!(node.value(axis)?));
        }
    }
    Ok(json!({
        "keys": node.keys_held()?,
        "leds": node.leds()?,
        "sounds": node.sounds()?,
        "switches": node.switches()?,
        "axes": axes,
        "slots": slots,
    }))
}
