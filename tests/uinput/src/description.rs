//! What an input device says of itself, in one canonical form: sorted sets, nothing that changes while it is used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};

use crate::codes::{EV_ABS, EV_SYN};

/// `struct input_id`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Id {
    pub bus: u16,
    pub vendor: u16,
    pub product: u16,
    pub version: u16,
}

/// `struct input_absinfo` without its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Axis {
    pub minimum: i32,
    pub maximum: i32,
    pub fuzz: i32,
    pub flat: i32,
    pub resolution: i32,
}

impl Axis {
    /// An axis with fuzz, flat and resolution 0.
    pub fn range(minimum: i32, maximum: i32) -> Self {
        Axis { minimum, maximum, ..Axis::default() }
    }

    pub fn fuzz(self, fuzz: i32) -> Self {
        Axis { fuzz, ..self }
    }

    pub fn flat(self, flat: i32) -> Self {
        Axis { flat, ..self }
    }

    pub fn resolution(self, resolution: i32) -> Self {
        Axis { resolution, ..self }
    }
}

/// A device: names, identity, properties, what it can send and be told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Description {
    pub name: String,
    /// What the kernel calls uniq and VIRTIO the serial.
    pub uniq: String,
    pub id: Id,
    /// INPUT_PROP_*
    pub properties: BTreeSet<u16>,
    /// Each event type that there is, with its codes; EV_SYN and EV_REP have none.
    pub codes: BTreeMap<u16, BTreeSet<u16>>,
    /// The ranges of the codes of EV_ABS.
    pub axes: BTreeMap<u16, Axis>,
}

impl Description {
    /// The same device without an event type, as where a border in between does not let it through.
    pub fn without(mut self, kind: u16) -> Self {
        self.codes.remove(&kind);
        if kind == EV_ABS {
            self.axes.clear();
        }
        self
    }

    /// The same device without its properties.
    pub fn without_properties(mut self) -> Self {
        self.properties.clear();
        self
    }

    /// Adds an event type with codes.
    pub(crate) fn add(&mut self, kind: u16, codes: impl IntoIterator<Item = u16>) {
        self.codes.entry(EV_SYN).or_default();
        self.codes.entry(kind).or_default().extend(codes);
    }

    /// The canonical form, which two kernels can be compared by. Types and codes are decimal numbers.
    pub fn to_json(&self) -> Value {
        let codes: serde_json::Map<_, _> =
            self.codes.iter().map(|(kind, codes)| (kind.to_string(), json!(codes))).collect();
        let axes: serde_json::Map<_, _> = self
            .axes
            .iter()
            .map(|(code, a)| {
                let axis = json!({
                    "minimum": a.minimum, "maximum": a.maximum, "fuzz": a.fuzz, "flat": a.flat,
                    "resolution": a.resolution,
                });
                (code.to_string(), axis)
            })
            .collect();
        json!({
            "name": self.name,
            "uniq": self.uniq,
            "id": {
                "bus": self.id.bus, "vendor": self.id.vendor, "product": self.id.product, "version": self.id.version,
            },
            "properties": self.properties,
            "codes": codes,
            "axes": axes,
        })
    }
}

/// The canonical form.
impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_json())
    }
}

/// Where two canonical forms differ, one line each; none when they are the same.
pub fn differences(left: &Value, right: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", left, right, &mut lines);
    lines
}

fn compare(place: &str, left: &Value, right: &Value, lines: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let place = format!("{place}/{key}");
                compare(&place, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), lines);
            }
        }
        _ if left != right => lines.push(format!("{place}: {left} is not {right}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::{ABS_X, EV_KEY, EV_REP};

    fn described() -> Description {
        let mut description = Description { name: "one".to_owned(), ..Description::default() };
        description.add(EV_KEY, [30, 2]);
        description.add(EV_REP, []);
        description.add(EV_ABS, [ABS_X]);
        description.axes.insert(ABS_X, Axis::range(-1, 1).flat(3));
        description
    }

    #[test]
    fn the_canonical_form_is_sorted_and_complete() {
        let expected = json!({
            "name": "one",
            "uniq": "",
            "id": {"bus": 0, "vendor": 0, "product": 0, "version": 0},
            "properties": [],
            "codes": {"0": [], "1": [2, 30], "3": [0], "20": []},
            "axes": {"0": {"minimum": -1, "maximum": 1, "fuzz": 0, "flat": 3, "resolution": 0}},
        });
        assert_eq!(described().to_json(), expected);
    }

    #[test]
    fn differences_are_told_with_their_place() {
        let (one, mut other) = (described(), described());
        assert_eq!(differences(&one.to_json(), &other.to_json()), [""; 0]);
        other.axes.insert(ABS_X, Axis::range(-1, 2).flat(3));
        other = other.without(EV_REP);
        let told = differences(&one.to_json(), &other.to_json());
        assert_eq!(told, ["/axes/0/maximum: 1 is not 2", "/codes/20: [] is not null"]);
        assert_eq!(one.without(EV_ABS).axes.len(), 0);
    }
}
