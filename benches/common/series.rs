//! Samples of programs that take turns, and what they say: medians, spread, ratios.

use std::time::{Duration, Instant};

use super::Result;

/// Rounds at least, whatever they take.
const LEAST_ROUNDS: usize = 5;

/// One quantity, sampled again and again.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// A quantity that was measured once, or that does not vary.
    pub fn once(value: f64) -> Series {
        Series(vec![value])
    }

    /// The middle sample.
    pub fn median(&self) -> f64 {
        quantile(&self.0, 0.5)
    }

    /// Half of what lies between the quartiles, as a part of the median.
    pub fn spread(&self) -> f64 {
        let half = (quantile(&self.0, 0.75) - quantile(&self.0, 0.25)) / 2.0;
        if half == 0.0 { 0.0 } else { half / self.median() }
    }

    /// The median of the ratios to `other` in each round: what slows a whole round down cancels out.
    pub fn ratio_to(&self, other: &Series) -> f64 {
        let ratios: Vec<f64> = self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect();
        quantile(&ratios, 0.5)
    }
}

/// The sample below which a part `q` of them lies.
pub fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) as f64 * q).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// What takes a sample of `N` quantities.
pub type Sampler<'a, const N: usize> = Box<dyn FnMut() -> Result<[f64; N]> + 'a>;

/// Who takes turns in one figure.
pub struct Contest<'a, const N: usize> {
    /// Our program.
    pub ours: Sampler<'a, N>,
    /// The least that has to be done, if there is such a thing.
    pub floor: Option<Sampler<'a, N>>,
    /// QEMU's program, where there is one.
    pub peer: Option<Sampler<'a, N>>,
}

/// One quantity of all who took turns.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Our program's.
    pub ours: Series,
    /// The floor's.
    pub floor: Option<Series>,
    /// QEMU's.
    pub peer: Option<Series>,
}

impl<const N: usize> Contest<'_, N> {
    /// Goes round for `time`, after one round that does not count.
    pub fn run(mut self, time: Duration) -> Result<[Measured; N]> {
        let mut taken: [Measured; N] = std::array::from_fn(|_| Measured {
            ours: Series::default(),
            floor: self.floor.as_ref().map(|_| Series::default()),
            peer: self.peer.as_ref().map(|_| Series::default()),
        });
        self.round(0)?;
        let started = Instant::now();
        for round in 0.. {
            if round >= LEAST_ROUNDS && started.elapsed() >= time {
                break;
            }
            let [ours, floor, peer] = self.round(round)?;
            for (at, measured) in taken.iter_mut().enumerate() {
                measured.ours.0.extend(ours.map(|sample| sample[at]));
                if let (Some(series), Some(sample)) = (&mut measured.floor, floor) {
                    series.0.push(sample[at]);
                }
                if let (Some(series), Some(sample)) = (&mut measured.peer, peer) {
                    series.0.push(sample[at]);
                }
            }
        }
        Ok(taken)
    }

    /// One sample of each. Another begins each time: what one leaves in the caches is the next one's advantage or burden.
    fn round(&mut self, number: usize) -> Result<[Option<[f64; N]>; 3]> {
        let mut taken = [None; 3];
        for turn in 0..3 {
            let who = (number + turn) % 3;
            let sampler =
                [Some(&mut self.ours), self.floor.as_mut(), self.peer.as_mut()].into_iter().nth(who).flatten();
            taken[who] = sampler.map(|sample| sample()).transpose()?;
        }
        Ok(taken)
    }
}
