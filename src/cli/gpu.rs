//! What the command line of `vhost-user-gpu` has of its own.

use std::path::PathBuf;

use lexopt::Parser;
use log::{LevelFilter, warn};

use super::options::{self, UsageError};
use super::{Failure, Program, Start, size, trial};
use crate::gpu::udmabuf::{self, Exporter};
use crate::gpu::virgl::{self, Renderer};
use crate::gpu::{DisplayMode, Gpu, Options};
use crate::sandbox::{Needs, calls};
use crate::streams;

/// Host memory that a guest can make us hold, if nothing else is asked for: 256 MiB; with 3D, where textures are in it,
/// 2 GiB.
const MAX_HOSTMEM: u64 = 256 << 20;
const MAX_HOSTMEM_3D: u64 = 2 << 30;

/// The program `vhost-user-gpu` and its options.
#[derive(Debug, Default)]
pub struct GpuProgram {
    pub max_hostmem: Option<u64>,
    pub display: Option<DisplayMode>,
    pub virgl: Option<()>,
    pub render_node: Option<PathBuf>,
    pub direct_scanout: Option<()>,
}

impl Program for GpuProgram {
    const NAME: &'static str = "vhost-user-gpu";
    const DEVICE_TYPE: &'static str = "gpu";
    const PURPOSE: &'static str = "a virtual machine's screen, served over vhost-user";
    const HELP: &'static str = "  --max-hostmem=SIZE      host memory that a guest can make this program hold, in
                          bytes or with K, M or G (default 256M, with --virgl 2G)
  --display=MODE          how pictures go to the display: `pixels`, copied; `dmabuf`,
                          shared with it, of which a display without OpenGL shows
                          nothing; or `auto` (default), shared what a GPU draws
                          and copied what it does not
  --direct-scanout        --display=dmabuf, and what no GPU draws is shown out of
                          the guest's own pages where it can be: no copy at all,
                          but what is half drawn is seen
  --virgl                 3D rendering by virglrenderer, in software unless there is
                          --render-node
  --render-node=PATH      the GPU to render on with --virgl: /dev/dri/renderD*;
                          without --virgl it has to be there, and is not used
";

    /// What works here, by trying. libvirt picks a render node by itself as soon as it reads that word, and does not start
    /// the VM where there is none.
    fn features() -> Vec<&'static str> {
        let (virgl, node) = virgl::probe(trial::works);
        [node.map(|_| "render-node"), virgl.then_some("virgl")].into_iter().flatten().collect()
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
            "virgl" => options::set(&mut self.virgl, name, ()),
            "render-node" => options::set(&mut self.render_node, name, PathBuf::from(parser.value()?)),
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
        let Self { max_hostmem, display, direct_scanout, virgl, render_node } = self;
        let has_3d = virgl.is_some();
        let display = display.unwrap_or_default();
        if let Some(node) = &render_node {
            virgl::check_node(node)?;
        }
        let mut needs = Needs { calls: vec![calls::DISPLAY], ..Needs::default() };
        if has_3d {
            virgl::set_environment(render_node.is_some())?;
            needs.add_renderer(render_node.as_deref());
            // Whoever looks for a fault wants to hear the libraries too.
            if log::max_level() < LevelFilter::Debug {
                streams::keep(start.program).map_err(Failure::Streams)?;
            }
        }
        let direct = direct_scanout.is_some();
        // Only where it was asked for: not every GPU takes memory that is not its own, and QEMU shows nothing then.
        let exporter = if direct || display == DisplayMode::Dmabuf { open_exporter() } else { None };
        if exporter.is_some() {
            needs.calls.extend(direct.then_some(calls::UDMABUF_LIST));
            needs.calls.push(calls::UDMABUF);
        }
        let max_hostmem = max_hostmem.unwrap_or(if has_3d { MAX_HOSTMEM_3D } else { MAX_HOSTMEM });
        start.serve(needs, || {
            let renderer = if has_3d { Some(Renderer::open(render_node.as_deref())?) } else { None };
            let mut gpu = Gpu::new(Options { max_hostmem, renderer, display });
            if let Some(exporter) = exporter {
                gpu.export_by(if direct { exporter.sharing_pages() } else { exporter });
            }
            Ok(gpu)
        })
    }
}

/// What puts pictures that no GPU draws into DMABUFs. Where it can't be had they go as pixels.
fn open_exporter() -> Option<Exporter> {
    let opened = Exporter::open();
    opened.inspect_err(|error| warn!("what no GPU draws goes as pixels: {}: {error}", udmabuf::PATH)).ok()
}
