//! Stand-in, replaced by the real device.

/// What the program's options say about the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Most bytes of host memory that a guest can make us hold.
    pub max_hostmem: u64,
}

/// The device.
pub struct Gpu;

impl Gpu {
    /// A device.
    #[must_use]
    pub fn new(_options: Options) -> Self {
        Self
    }
}
