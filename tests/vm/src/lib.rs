//! A real QEMU with a real Linux guest, for tests.
