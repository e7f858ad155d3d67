//! Pixels: TRANSFER and FLUSH in one kick, until the reader at the display socket has got all of them.
//!
//! The guest draws before each frame, outside the time: the pixels come from a processor's cache, as a real guest's do.
//! The floor draws as much and sends straight from where it was drawn.

use std::path::Path;

use seat_frontend::gpu::{Backing, Rect};

use crate::floor::BareSend;
use crate::series::{Contest, Measured, Sampler, Series};
use crate::table::{Row, Target, Unit};
use crate::vm::Vm;
use crate::{Bench, Result};

const RESOURCE: u32 = 1;
/// One kilobyte is so many pixels in a row.
const KILOBYTE: usize = 1024;

/// A machine whose one resource fills its screen.
struct Screen {
    vm: Vm,
    backing: Backing,
    /// All of it.
    rect: Rect,
    /// Counts what was drawn; no two drawings are the same.
    turn: u32,
    whole: u64,
    part: u64,
}

impl Screen {
    fn new(binary: &Path, width: u32, height: u32) -> Result<Screen> {
        let mut vm = Vm::boot(binary, 64 << 20)?;
        let backing = vm.guest().show(RESOURCE, width, height)?;
        let mut screen = Screen { vm, backing, rect: Rect::new(0, 0, width, height), turn: 0, whole: 0, part: 0 };
        // The first frame settles what was due anyway; the second tells what a frame brings.
        for _ in 0..2 {
            screen.draw_all();
            screen.whole = screen.vm.guest().learn(RESOURCE, screen.rect, 0)?;
        }
        for _ in 0..2 {
            screen.draw_kilobyte();
            screen.part = screen.vm.guest().learn(RESOURCE, screen.rect, 0)?;
        }
        Ok(screen)
    }

    fn draw_all(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        let start = self.backing.entries()[0].addr;
        self.vm.guest().driver.memory().fill(start, self.backing.len(), self.turn as u8);
    }

    /// In one row, a different one each time, at a place that is no tile's edge.
    fn draw_kilobyte(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        let row = u64::from(self.turn) * 16 % u64::from(self.rect.height - 64);
        let pixels = [self.turn.to_le_bytes(); KILOBYTE / 4];
        self.backing.write((row * u64::from(self.rect.width) + 300) * 4, pixels.as_flattened());
    }

    fn frame(&mut self) -> Result<[f64; 3]> {
        self.draw_all();
        self.update(self.whole)
    }

    fn frame_of_a_kilobyte(&mut self) -> Result<[f64; 3]> {
        self.draw_kilobyte();
        self.update(self.part)
    }

    /// The time, all that was sent, and the back end's time on a processor.
    fn update(&mut self, pixels: u64) -> Result<[f64; 3]> {
        let rect = self.rect;
        let cpu = self.vm.program.measure()?.cpu;
        let guest = self.vm.guest();
        let before = guest.display.totals().bytes;
        let time = guest.update(RESOURCE, rect, 0, pixels)?;
        let sent = guest.display.totals().bytes - before;
        let cpu = self.vm.program.measure()?.cpu - cpu;
        Ok([time.as_secs_f64(), sent as f64, cpu.as_secs_f64()])
    }
}

/// 1920×1080.
pub fn full_hd(bench: &Bench) -> Result<Vec<Row>> {
    sized(bench, 1920, 1080)
}

/// 3840×2160, and what memory it leaves behind.
pub fn ultra_hd(bench: &Bench) -> Result<Vec<Row>> {
    sized(bench, 3840, 2160)
}

fn sized(bench: &Bench, width: u32, height: u32) -> Result<Vec<Row>> {
    bench.places.anywhere()?;
    let mut screens = bench.programs().map(|path| Screen::new(path, width, height)).collect::<Result<Vec<_>>>()?;
    let mut bare = BareSend::start(width, height)?;
    let mut turn = 0u8;
    let floor = Box::new(|| {
        turn = turn.wrapping_add(1);
        bare.draw(turn);
        bare.frame()
    });
    let [whole, _, cpu] = contest(&mut screens, floor, Screen::frame).run(bench.time)?;
    let floor = Box::new(|| bare.frame());
    let [part, mut sent, _] = contest(&mut screens, floor, Screen::frame_of_a_kilobyte).run(bench.time / 2)?;
    sent.floor = None;
    let mut rows = vec![
        Row::new(format!("{width}×{height}, all changed"), Unit::Time, whole, Target::Floor(1.3)),
        Row::new(format!("{width}×{height}, all changed: processor time"), Unit::Time, cpu, Target::None),
        Row::new(format!("{width}×{height}, 1 KB changed"), Unit::Time, part, Target::Floor(0.6)),
        Row::new(format!("{width}×{height}, 1 KB changed: sent"), Unit::Bytes, sent, Target::AtMost(65536.0)),
    ];
    if width == 3840 {
        rows.push(anonymous(&screens)?);
    }
    Ok(rows)
}

/// The contest of our program, the floor and, where there is one, the peer.
fn contest<'a>(
    screens: &'a mut [Screen],
    floor: Sampler<'a, 3>,
    sample: impl Fn(&mut Screen) -> Result<[f64; 3]> + Copy + 'a,
) -> Contest<'a, 3> {
    let mut samplers = screens.iter_mut().map(|screen| -> Sampler<'a, 3> { Box::new(move || sample(screen)) });
    let ours = samplers.next().expect("our program is always there");
    Contest { ours, floor: Some(floor), peer: samplers.next() }
}

fn anonymous(screens: &[Screen]) -> Result<Row> {
    let of = |screen: &Screen| -> Result<Series> { Ok(Series::once(screen.vm.program.measure()?.anonymous as f64)) };
    let ours = of(&screens[0])?;
    let peer = screens.get(1).map(of).transpose()?;
    let most = f64::from(40 << 20);
    let measured = Measured { ours, floor: None, peer };
    Ok(Row::new("anonymous memory after 3840×2160", Unit::Bytes, measured, Target::AtMost(most)))
}

/// 64×64 pixels of a 3840×2160 screen, all changed, at a place that is no tile's corner.
pub fn small_update(bench: &Bench) -> Result<Vec<Row>> {
    const SIDE: u32 = 64;
    const ROUNDS: usize = 100;
    bench.places.together()?;
    let mut screens = bench.programs().map(|path| Screen::new(path, 3840, 2160)).collect::<Result<Vec<_>>>()?;
    let rect = Rect::new(1000, 500, SIDE, SIDE);
    let offset = u64::from(rect.y * 3840 + rect.x) * 4;
    let draw = move |screen: &mut Screen| {
        screen.turn = screen.turn.wrapping_add(1);
        for line in 0..u64::from(SIDE) {
            screen.backing.write(offset + line * 3840 * 4, &[screen.turn as u8; SIDE as usize * 4]);
        }
    };
    for screen in &mut screens {
        for _ in 0..2 {
            draw(screen);
            screen.part = screen.vm.guest().learn(RESOURCE, rect, offset)?;
        }
    }
    let mut bare = BareSend::start(SIDE, SIDE)?;
    let mut turn = 0u8;
    let floor = Box::new(|| {
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            turn = turn.wrapping_add(1);
            bare.draw(turn);
            times.push(bare.send()?.as_secs_f64());
        }
        Ok([crate::series::quantile(&times, 0.5), 0.0, 0.0])
    });
    let sample = move |screen: &mut Screen| {
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            draw(screen);
            times.push(screen.vm.guest().update(RESOURCE, rect, offset, screen.part)?.as_secs_f64());
        }
        Ok([crate::series::quantile(&times, 0.5), 0.0, 0.0])
    };
    let [time, ..] = contest(&mut screens, floor, sample).run(bench.time)?;
    Ok(vec![Row::new("64×64 of 3840×2160, all changed", Unit::Time, time, Target::Floor(1.4))])
}
