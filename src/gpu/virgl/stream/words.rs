//! Words as the commands of a stream have them. No I/O.

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
