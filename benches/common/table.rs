//! The table: a line a figure, in Markdown, so that it can stand in the README as it is printed.

use super::series::{Measured, Series};

/// What a figure counts.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Seconds.
    Time,
    /// Bytes.
    Bytes,
    /// Events a second.
    Rate,
    /// A plain number.
    Count,
    /// A part of a whole.
    Share,
    /// A ratio in itself.
    Times,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Time if value >= 0.001 => format!("{:.2} ms", value * 1e3),
            Self::Time if value >= 1e-6 => format!("{:.2} µs", value * 1e6),
            Self::Time => format!("{:.0} ns", value * 1e9),
            Self::Bytes if value >= 1024.0 * 1024.0 => format!("{:.1} MiB", value / (1024.0 * 1024.0)),
            Self::Bytes => format!("{:.1} KiB", value / 1024.0),
            Self::Rate => format!("{:.2} M/s", value / 1e6),
            Self::Count => format!("{value:.2}"),
            Self::Share => format!("{:.2} %", value * 100.0),
            Self::Times => format!("×{value:.2}"),
        }
    }
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// So many times the floor at most.
    Floor(f64),
    /// So many times the peer at least.
    Peer(f64),
    /// So much at most.
    AtMost(f64),
    /// It is there to be looked at.
    None,
}

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is measured.
    pub figure: String,
    /// In what.
    pub unit: Unit,
    /// What it came to.
    pub measured: Measured,
    /// What it should come to.
    pub target: Target,
}

impl Row {
    /// A line.
    pub fn new(figure: impl Into<String>, unit: Unit, measured: Measured, target: Target) -> Row {
        Row { figure: figure.into(), unit, measured, target }
    }

    fn cells(&self) -> [String; 8] {
        let Measured { ours, floor, peer } = &self.measured;
        let show = |series: Option<&Series>| series.map_or_else(String::new, |series| self.show(series));
        let ratio = |a: Option<&Series>, b: Option<&Series>| match (a, b) {
            (Some(a), Some(b)) => format!("{:.2}", a.ratio_to(b)),
            _ => String::new(),
        };
        [
            self.figure.clone(),
            self.show(ours),
            show(floor.as_ref()),
            show(peer.as_ref()),
            ratio(Some(ours), floor.as_ref()),
            ratio(peer.as_ref(), floor.as_ref()),
            self.target(),
            self.verdict(),
        ]
    }

    fn show(&self, series: &Series) -> String {
        let value = self.unit.show(series.median());
        match series.spread() {
            0.0 => value,
            spread => format!("{value} ±{:.0}%", spread * 100.0),
        }
    }

    fn target(&self) -> String {
        match self.target {
            Target::Floor(times) => format!("≤ {times} × floor"),
            Target::Peer(times) => format!("≥ {times} × peer"),
            Target::AtMost(value) => format!("≤ {}", self.unit.show(value)),
            Target::None => String::new(),
        }
    }

    fn verdict(&self) -> String {
        let Measured { ours, floor, peer } = &self.measured;
        let (value, met) = match (self.target, floor, peer) {
            (Target::Floor(times), Some(floor), _) => (ours.ratio_to(floor), ours.ratio_to(floor) <= times),
            (Target::Peer(times), _, Some(peer)) => (ours.ratio_to(peer), ours.ratio_to(peer) >= times),
            (Target::AtMost(most), ..) => (ours.median(), ours.median() <= most),
            _ => return String::new(),
        };
        let word = if met { "yes" } else { "no" };
        match self.target {
            Target::Peer(_) => format!("{word}, {value:.2}"),
            _ => word.to_owned(),
        }
    }
}

/// Prints the table.
pub fn print(rows: &[Row]) {
    let head = ["figure", "ours", "floor", "peer", "ours/floor", "peer/floor", "target", "met"].map(str::to_owned);
    let lines: Vec<[String; 8]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    for (number, line) in lines.iter().enumerate() {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if number == 0 {
            println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
}
