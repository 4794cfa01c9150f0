use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::MemfdFlags;

use super::cannot;
use crate::engine::EngineError;

/// Bytes of the boot ROM: what QEMU maps at the top of 4 GiB, and below 1 MiB.
const ROM_BYTES: usize = 64 << 10;

/// The boot ROM as a file that QEMU maps.
pub(super) struct Rom {
    file: File,
    bytes: Vec<u8>,
    broken: Option<u16>,
}

impl Rom {
    pub(super) fn new(image: &[u8]) -> Result<Rom, EngineError> {
        let empty = ROM_BYTES
            .checked_sub(image.len())
            .ok_or(EngineError::RomSize(image.len()))?;
        let mut bytes = vec![0xff; empty];
        bytes.extend_from_slice(image);
        let file = rustix::fs::memfd_create("boot-rom", MemfdFlags::CLOEXEC)
            .map_err(|error| cannot("be given a ROM")(error.into()))?;
        let mut rom = Rom {
            file: File::from(file),
            bytes,
            broken: None,
        };
        rom.write()?;
        Ok(rom)
    }

    fn write(&mut self) -> Result<(), EngineError> {
        let written = self.file.write_all_at(&self.bytes, 0);
        written.map_err(cannot("be given a ROM"))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn break_at(&mut self, at: Option<u16>) {
        let before = std::mem::replace(&mut self.broken, at);
        for at in before.into_iter().chain(at) {
            // An odd number of flips is one.
            if let Some(byte) = self.bytes.get_mut(usize::from(at)) {
                *byte ^= 1;
            }
        }
        // Memory of our own: it cannot fail for a file that has its size already.
        let _ = self.write();
    }
}
