//! QEMU's machine protocol: commands with answers, and events that wait to be asked for.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::lines::Lines;
use crate::process::deadline;

/// Events kept for [`Qmp::wait_event`]; older ones are forgotten.
const MAX_EVENTS: usize = 1000;

pub struct Qmp {
    lines: Lines,
    events: VecDeque<Value>,
    number: u64,
}

impl Qmp {
    /// Greets QEMU on a new connection.
    pub(crate) fn connect(stream: UnixStream, patience: Duration) -> Result<Self> {
        let mut qmp = Qmp { lines: Lines::new("QMP", stream), events: VecDeque::new(), number: 0 };
        let greeting = qmp.message(deadline(patience))?;
        if greeting.get("QMP").is_none() {
            return Err(Error::Failed(format!("QMP: no greeting but {greeting}")));
        }
        qmp.execute("qmp_capabilities", json!({}), patience)?;
        Ok(qmp)
    }

    /// Runs a command; QEMU's error is a refusal.
    pub fn execute(&mut self, command: &str, arguments: Value, patience: Duration) -> Result<Value> {
        self.number += 1;
        let id = self.number;
        self.lines.send(&json!({"execute": command, "arguments": arguments, "id": id}).to_string())?;
        let until = deadline(patience);
        loop {
            let mut message = self.message(until).map_err(|e| e.context(format_args!("QMP {command}")))?;
            if message.get("event").is_some() {
                self.keep(message);
            } else if message["id"] == id {
                return match message.get("error") {
                    Some(error) => Err(Error::Refused(format!("QMP {command}: {error}"))),
                    None => Ok(message["return"].take()),
                };
            }
        }
    }

    /// Waits for an event of that name; one that came already counts. Gives its data.
    pub fn wait_event(&mut self, name: &str, patience: Duration) -> Result<Value> {
        let until = deadline(patience);
        loop {
            if let Some(at) = self.events.iter().position(|e| e["event"] == name) {
                let event = self.events.remove(at).unwrap_or_default();
                return Ok(event["data"].clone());
            }
            let message = self.message(until).map_err(|e| e.context(format_args!("QMP event {name}")))?;
            if message.get("event").is_some() {
                self.keep(message);
            }
        }
    }

    /// Forgets the events that came so far.
    pub fn forget_events(&mut self) {
        self.events.clear();
    }

    fn keep(&mut self, event: Value) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn message(&mut self, until: Instant) -> Result<Value> {
        let line = self.lines.next(until)?;
        serde_json::from_str(&line).map_err(|e| Error::Failed(format!("QMP: {e}: {line}")))
    }
}
