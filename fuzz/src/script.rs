//! Operations and numbers out of a target's bytes, always from the front and in whole bytes: so a seed can be written by
//! hand, and a byte changed by the fuzzer changes one thing.

use arbitrary::Unstructured;

/// What is left of a target's bytes.
pub struct Script<'a>(Unstructured<'a>);

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Script<'a> {
        Script(Unstructured::new(bytes))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        self.0.arbitrary().unwrap_or(0)
    }

    pub fn u32(&mut self) -> u32 {
        self.0.arbitrary().unwrap_or(0)
    }

    pub fn u64(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// That many bytes, or those that are left.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        self.0.bytes(count.min(self.0.len())).unwrap_or_default()
    }

    /// A number that is small most of the time, and else one of those at which programs err.
    pub fn word(&mut self) -> u32 {
        match self.u8() {
            small @ 0..=0xef => small.into(),
            0xf0 => u32::MAX,
            0xf1 => 1 << 31,
            0xf2 => i32::MAX as u32,
            0xf3 => 1 << 30,
            0xf4 => 1 << 16,
            0xf5 => 1 << 14,
            0xf6 => 4096,
            0xf7 => 1024,
            0xf8 => 640,
            0xf9 => 256,
            0xfa | 0xfb => self.u16().into(),
            _ => self.u32(),
        }
    }
}
