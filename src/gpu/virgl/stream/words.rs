//! Words as the commands of a stream have them. No I/O.

use super::Refused;

/// Words of 32 bits that lie in pairs.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    pairs: &'a [u64],
    start: usize,
    len: usize,
}

impl<'a> Words<'a> {
    /// The first `len` of `pairs`; `None` where there are fewer.
    pub fn new(pairs: &'a [u64], len: usize) -> Option<Self> {
        (len.div_ceil(2) <= pairs.len()).then_some(Self { pairs, start: 0, len })
    }

    /// `len` of them, from `start` on.
    pub fn part(self, start: usize, len: usize) -> Option<Self> {
        let fits = start.checked_add(len)? <= self.len;
        fits.then_some(Self { start: self.start.checked_add(start)?, len, ..self })
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.len
    }

    /// The first `N` of them; `None` where there are fewer.
    pub fn first<const N: usize>(self) -> Option<[u32; N]> {
        let mut words = [0; N];
        for (place, word) in words.iter_mut().enumerate() {
            *word = self.get(place)?;
        }
        Some(words)
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = u32> + 'a {
        (0..self.len).map_while(move |place| self.get(place))
    }

    /// The one at `place`, counted from 0.
    pub fn get(self, place: usize) -> Option<u32> {
        if place >= self.len {
            return None;
        }
        let place = self.start.checked_add(place)?;
        let [a, b, c, d, e, f, g, h] = self.pairs.get(place / 2)?.to_ne_bytes();
        Some(u32::from_ne_bytes(if place.is_multiple_of(2) { [a, b, c, d] } else { [e, f, g, h] }))
    }
}

/// As many words in pairs, and how many they are.
pub fn in_pairs(words: &[u32]) -> (Vec<u64>, u32) {
    let pair = |pair: &[u32]| {
        let [a, b] = [0, 1].map(|place| pair.get(place).copied().unwrap_or(0).to_ne_bytes());
        u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
    };
    // More than a context can have slots for are not asked for.
    (words.chunks(2).map(pair).collect(), u32::try_from(words.len()).unwrap_or(0))
}

/// The commands of a stream: what each begins with, and the words that follow.
#[derive(Clone, Copy, Debug)]
pub struct Commands<'a> {
    words: Words<'a>,
    place: usize,
}

impl<'a> Commands<'a> {
    /// The commands that these words are.
    pub fn new(words: Words<'a>) -> Self {
        Self { words, place: 0 }
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<(u32, Words<'a>), Refused>;

    /// The next one, or that it is cut off.
    fn next(&mut self) -> Option<Self::Item> {
        let head = self.words.get(self.place)?;
        let body = self.words.part(self.place.saturating_add(1), (head >> 16) as usize);
        self.place = self.place.saturating_add(1).saturating_add((head >> 16) as usize);
        Some(body.map(|body| (head, body)).ok_or(Refused))
    }
}
