//! A picture in memory that a display shows without a copy.

use std::os::fd::OwnedFd;

/// One plane of pixels, from the descriptor's first byte on.
#[derive(Debug)]
pub struct Dmabuf {
    pub fd: OwnedFd,
    pub width: u32,
    pub height: u32,
    /// Bytes of a row.
    pub stride: u32,
    /// `DRM_FORMAT_*`.
    pub fourcc: u32,
    /// `DRM_FORMAT_MOD_*`, where it is known.
    pub modifier: Option<u64>,
    /// Whether the first row is the top one.
    pub y_0_top: bool,
}
