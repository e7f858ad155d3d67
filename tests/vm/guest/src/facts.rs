//! What the kernel says of the device and of itself, and what can be done to it by files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use seat_guest::picture::fractal;
use serde_json::{Value, json};

const DRIVER: &str = "/sys/bus/virtio/drivers/virtio_gpu";
/// VIRTIO's device id of a gpu, as `device` in sysfs has it.
const GPU: &str = "0x0010";

/// Ids and negotiated features of the virtio gpu: `{"virtio":"virtio0","pci":"1af4:1050","class":"0x030000","driver":true,
/// "features":[0,1,…]}`.
pub fn device() -> Result<Value, String> {
    let device = find_gpu()?;
    let read = |path: &str| {
        fs::read_to_string(device.join(path)).map(|s| s.trim().to_owned()).map_err(|e| format!("{path}: {e}"))
    };
    let hex = |path: &str| read(path).map(|s| s.trim_start_matches("0x").to_owned());
    let bits = read("features")?;
    let features: Vec<usize> = bits.bytes().enumerate().filter(|(_, b)| *b == b'1').map(|(i, _)| i).collect();
    let name = device.file_name().map(|n| n.to_string_lossy().into_owned());
    Ok(json!({
        "virtio": name,
        "pci": format!("{}:{}", hex("../vendor")?, hex("../device")?),
        "class": read("../class")?,
        "driver": device.join("driver").exists(),
        "features": features,
    }))
}

fn find_gpu() -> Result<PathBuf, String> {
    let devices = fs::read_dir("/sys/bus/virtio/devices").map_err(|e| format!("virtio devices: {e}"))?;
    let is_gpu = |path: &PathBuf| fs::read_to_string(path.join("device")).is_ok_and(|id| id.trim() == GPU);
    let found = devices.filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok()).find(is_gpu);
    found.ok_or_else(|| "there is no virtio gpu".to_owned())
}

/// Takes the driver from the device and gives it back.
pub fn rebind() -> Result<(), String> {
    let device = find_gpu()?;
    let name = device.file_name().and_then(|n| n.to_str()).ok_or("the device has no name")?;
    for verb in ["unbind", "bind"] {
        fs::write(format!("{DRIVER}/{verb}"), name).map_err(|e| format!("{verb}: {e}"))?;
    }
    Ok(())
}

/// The last `lines` messages of the kernel.
pub fn dmesg(lines: usize) -> Result<Value, String> {
    let mut log = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")
        .map_err(|e| format!("/dev/kmsg: {e}"))?;
    let mut record = [0u8; 8192];
    let mut all = Vec::new();
    loop {
        match log.read(&mut record) {
            Ok(n) => {
                // `priority,sequence,time,flags;text`, then lines of tags.
                let text = String::from_utf8_lossy(&record[..n]);
                let first = text.lines().next().unwrap_or_default();
                all.push(first.split_once(';').map_or(first, |(_, message)| message).to_owned());
            }
            // A record was overwritten before it was read.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(format!("/dev/kmsg: {error}")),
        }
    }
    let skip = all.len().saturating_sub(lines);
    Ok(json!(all[skip..]))
}

/// Prints on the text console.
pub fn console(text: &str) -> Result<(), String> {
    fs::write("/dev/tty0", format!("{text}\n")).map_err(|e| format!("/dev/tty0: {e}"))
}

/// Draws the fractal, `size` pixels wide and high, at that place of the text console's screen.
pub fn draw(size: u32, x: u32, y: u32) -> Result<(), String> {
    let stride = fs::read_to_string("/sys/class/graphics/fb0/stride").map_err(|e| format!("fb0's stride: {e}"))?;
    let stride: u64 = stride.trim().parse().map_err(|_| format!("fb0's stride: {stride}"))?;
    let screen = File::options().write(true).open("/dev/fb0").map_err(|e| format!("/dev/fb0: {e}"))?;
    for row in 0..size {
        let pixels: Vec<u8> = (0..size).flat_map(|column| fractal(size, column, row).to_le_bytes()).collect();
        let at = u64::from(y + row) * stride + u64::from(x) * 4;
        screen.write_all_at(&pixels, at).map_err(|e| format!("/dev/fb0: {e}"))?;
    }
    Ok(())
}

/// Panics the kernel.
pub fn crash() -> io::Result<()> {
    fs::write("/proc/sysrq-trigger", "c")
}
