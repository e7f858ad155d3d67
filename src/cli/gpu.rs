//! What the command line of `vhost-user-gpu` has of its own.

use lexopt::Parser;
use log::warn;

use super::options::{self, UsageError};
use super::{Failure, Program, Start, size};
use crate::gpu::udmabuf::{self, Exporter};
use crate::gpu::{DisplayMode, Gpu, Options};
use crate::sandbox::{Needs, calls};

/// Host memory that a guest can make us hold, if nothing else is asked for: 256 MiB.
const MAX_HOSTMEM: u64 = 256 << 20;

/// Why the options of 3D are refused, until it comes.
const NO_3D: &str = "3D rendering is not supported yet; leave this option out";

/// The program `vhost-user-gpu` and its options.
#[derive(Debug, Default)]
pub struct GpuProgram {
    pub max_hostmem: Option<u64>,
    pub display: Option<DisplayMode>,
    pub direct_scanout: Option<()>,
}

impl Program for GpuProgram {
    const NAME: &'static str = "vhost-user-gpu";
    const DEVICE_TYPE: &'static str = "gpu";
    const PURPOSE: &'static str = "a virtual machine's screen, served over vhost-user";
    const HELP: &'static str = "  --max-hostmem=SIZE      host memory that a guest can make this program hold, in
                          bytes or with K, M or G (default 256M)
  --display=MODE          how pictures go to the display: `pixels`, as it is without
                          a GPU; `dmabuf`, without a copy, of which a display
                          without OpenGL shows nothing; or `auto` (default), by
                          DMABUF where a GPU draws
  --direct-scanout        --display=dmabuf, and what no GPU draws is shown out of
                          the guest's own pages where it can be: no copy at all,
                          but what is half drawn is seen
  --virgl                 3D rendering: not supported yet, refused
  --render-node=PATH      the GPU to render on: not supported yet, refused
";

    /// None yet. `render-node` shall stand here only on a host that has a render node (libvirt picks one by itself as soon
    /// as it reads that word, and does not start the VM where there is none); `virgl` once it works.
    fn features() -> Vec<&'static str> {
        Vec::new()
    }

    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<(), UsageError> {
        match name {
            "max-hostmem" => {
                let value = parser.value()?;
                let bytes = size::parse(&value).filter(|bytes| *bytes > 0).ok_or_else(|| {
                    UsageError::value(name, value, "not a size; give bytes above 0, or a number with K, M or G")
                })?;
                options::set(&mut self.max_hostmem, name, bytes)
            }
            "display" => {
                let value = parser.value()?;
                let mode = match value.to_str() {
                    Some("auto") => DisplayMode::Auto,
                    Some("pixels") => DisplayMode::Pixels,
                    Some("dmabuf") => DisplayMode::Dmabuf,
                    _ => return Err(UsageError::value(name, value, "give auto, pixels or dmabuf")),
                };
                options::set(&mut self.display, name, mode)
            }
            "direct-scanout" => options::set(&mut self.direct_scanout, name, ()),
            "virgl" => Err(UsageError::Unsupported { option: "virgl", reason: NO_3D }),
            "render-node" => Err(UsageError::Unsupported { option: "render-node", reason: NO_3D }),
            _ => Err(UsageError::Unknown(name.to_owned())),
        }
    }

    fn check(&self) -> Result<(), UsageError> {
        match (self.display, self.direct_scanout) {
            (Some(DisplayMode::Pixels), Some(())) => Err(UsageError::Excluded("--display=pixels", "--direct-scanout")),
            _ => Ok(()),
        }
    }

    fn serve(self, start: Start) -> Result<(), Failure> {
        let display = self.display.unwrap_or_default();
        let mut gpu = Gpu::new(Options { max_hostmem: self.max_hostmem.unwrap_or(MAX_HOSTMEM), display });
        // A renderer will need more than this, in a list of its own.
        let mut needs = Needs { calls: vec![calls::DISPLAY], ..Needs::default() };
        let direct = self.direct_scanout.is_some();
        if direct || display.wants_dmabufs(false) {
            match Exporter::open() {
                Ok(exporter) => {
                    gpu.export_by(if direct { exporter.sharing_pages() } else { exporter });
                    needs.calls.extend(direct.then_some(calls::UDMABUF_LIST));
                    needs.calls.push(calls::UDMABUF);
                }
                Err(error) => warn!("what no GPU draws goes as pixels: {}: {error}", udmabuf::PATH),
            }
        }
        start.serve(gpu, needs)
    }
}
