//! Board RAM that is cheap to clear, save and restore.
//!
//! RAM is one private mapping in 2 MiB huge pages where the host grants them: on a software KVM the
//! first touch of a page costs a fault of about 28 µs, so that 4 KiB pages would cost a boot more
//! than everything else together. For the same reason clearing writes zeros instead of giving pages
//! back, and only huge pages that were ever touched are cleared, saved or restored.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use devices::virtio::GuestMemory;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use serde::{Deserialize, Serialize};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion, GuestRegionMmap, MmapRegion};

use super::EngineError;

/// A huge page of x86-64.
const HUGE: usize = 2 << 20;
/// Granularity of checkpoints.
const PAGE: usize = 4096;

/// A board's RAM: guest-physical 0 up to its size, without the ROM's alias.
#[derive(Debug)]
pub struct Ram {
    base: *mut u8,
    size: usize,
    mapping: *mut u8,
    mapped: usize,
    memory: GuestMemory,
    /// Huge pages that may hold something other than zeros.
    touched: Vec<bool>,
}

// SAFETY: the mapping belongs to this value alone; nothing about it is tied to a thread.
unsafe impl Send for Ram {}

/// First byte of the ROM's alias below 1 MiB, a hole in RAM.
pub const HOLE_START: u64 = 0xf_0000;
/// First byte behind the ROM's alias.
pub const HOLE_END: u64 = 0x10_0000;

/// The pages of a RAM that are not zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedRam {
    size: u64,
    /// (page number, contents), ascending.
    pages: Vec<(u32, Arc<[u8]>)>,
}

impl Ram {
    /// RAM of `mib` MiB, all zero.
    ///
    /// # Errors
    /// The host has no memory.
    pub fn new(mib: u32) -> Result<Ram, EngineError> {
        Ram::map(mib, None, None)
    }

    /// The same as a file that another process can map. With `beyond` there is one more page at that
    /// guest-physical address that is not in the file; without it there is no hole for a ROM either, as a PC
    /// has RAM there.
    ///
    /// # Errors
    /// The host has no memory.
    pub fn shared(mib: u32, beyond: Option<u64>) -> Result<(Ram, File), EngineError> {
        let problem = |error: rustix::io::Errno| EngineError::Memory {
            mib,
            why: error.to_string(),
        };
        let file = memfd_create("board-ram", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
        let file = file.map_err(problem)?;
        ftruncate(&file, u64::from(mib) << 20).map_err(problem)?;
        // Whoever maps it cannot take it away from under the devices.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW).map_err(problem)?;
        let file = File::from(file);
        Ok((Ram::map(mib, Some(&file), beyond)?, file))
    }

    fn map(mib: u32, file: Option<&File>, beyond: Option<u64>) -> Result<Ram, EngineError> {
        let problem = |why: String| EngineError::Memory { mib, why };
        let size = (mib as usize) << 20;
        // RAM of less than a huge page has one nevertheless: what is behind its end is never touched.
        let whole = size.next_multiple_of(HUGE);
        let mapped = whole + HUGE;
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let (flags, descriptor) = match file {
            None => (anonymous, -1),
            Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
        };
        // SAFETY: a mapping at an address of the kernel's choice touches nothing else. That of a file is
        // longer than the file, and what lies behind it is never touched.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                descriptor,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(problem(std::io::Error::last_os_error().to_string()));
        }
        let mapping = mapping.cast::<u8>();
        // Huge pages want their alignment; a file begins where it begins.
        let skipped = match file {
            None => mapping.align_offset(HUGE),
            Some(_) => 0,
        };
        // SAFETY: the offset is below HUGE, and HUGE bytes more than `whole` were mapped.
        let base = unsafe { mapping.add(skipped) };
        // SAFETY: advice about our own mapping. A host that refuses huge pages is only slower.
        unsafe { libc::madvise(base.cast(), whole, libc::MADV_HUGEPAGE) };
        let region = |start: u64, end: u64| {
            let length = usize::try_from(end - start).unwrap_or(0);
            let offset = usize::try_from(start).unwrap_or(0);
            // SAFETY: the range lies within the mapping, which outlives the region: `Ram` owns
            // both, and `memory` never leaves it except by reference.
            let mapped = unsafe {
                MmapRegion::build_raw(
                    base.add(offset),
                    length,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                )
            };
            mapped
                .map_err(|e| problem(e.to_string()))
                .and_then(|mapped| {
                    GuestRegionMmap::new(mapped, GuestAddress(start))
                        .ok_or_else(|| problem("address overflow".to_owned()))
                })
        };
        let end = size as u64;
        let mut regions = match (file, beyond) {
            (Some(_), None) => vec![region(0, end)?],
            // There may be no RAM behind the hole.
            _ if end <= HOLE_END => vec![region(0, HOLE_START)?],
            _ => vec![region(0, HOLE_START)?, region(HOLE_END, end)?],
        };
        if let Some(beyond) = beyond {
            let page = GuestRegionMmap::from_range(GuestAddress(beyond), PAGE, None);
            regions.push(page.map_err(|error| problem(error.to_string()))?);
        }
        let memory = GuestMemory::from_regions(regions).map_err(|e| problem(e.to_string()))?;
        Ok(Ram {
            base,
            size,
            mapping,
            mapped,
            memory,
            touched: vec![false; size.div_ceil(HUGE)],
        })
    }

    /// What devices read and write.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// (guest-physical start, bytes, host address) of each region, for the hypervisor.
    pub fn regions(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.memory.iter().map(|region| {
            let start = region.start_addr().0;
            let offset = usize::try_from(start).unwrap_or(0);
            (start, region.len(), self.base as u64 + offset as u64)
        })
    }

    /// Zeros everywhere.
    pub fn clear(&mut self) {
        self.note_touched();
        for index in 0..self.touched.len() {
            if self.touched[index] {
                self.huge_page(index).fill(0);
            }
        }
    }

    /// A copy of what is not zero; pages equal to those of `base` are shared with it.
    pub fn save(&mut self, base: Option<&SavedRam>) -> SavedRam {
        self.note_touched();
        let mut known = base
            .map(|base| base.pages.as_slice())
            .unwrap_or_default()
            .iter()
            .peekable();
        let mut pages = Vec::new();
        for index in 0..self.touched.len() {
            if !self.touched[index] {
                continue;
            }
            let first = index * (HUGE / PAGE);
            for (nth, page) in self.huge_page(index).chunks_exact(PAGE).enumerate() {
                let number = u32::try_from(first + nth).unwrap_or(u32::MAX);
                while known.next_if(|(known, _)| *known < number).is_some() {}
                match known.peek() {
                    Some((known, bytes)) if *known == number && bytes[..] == *page => {
                        pages.push((number, Arc::clone(bytes)));
                    }
                    _ if is_zero(page) => {}
                    _ => pages.push((number, Arc::from(page))),
                }
            }
        }
        SavedRam {
            size: self.size as u64,
            pages,
        }
    }

    /// Back to what [`Ram::save`] saw.
    ///
    /// # Errors
    /// The checkpoint is of a RAM of another size.
    pub fn restore(&mut self, saved: &SavedRam) -> Result<(), EngineError> {
        let limit = self.size / PAGE;
        let fits =
            |(number, page): &(u32, Arc<[u8]>)| (*number as usize) < limit && page.len() == PAGE;
        if saved.size != self.size as u64 || !saved.pages.iter().all(fits) {
            return Err(EngineError::Checkpoint("its RAM has another size"));
        }
        self.note_touched();
        for (number, _) in &saved.pages {
            self.touched[*number as usize / (HUGE / PAGE)] = true;
        }
        let mut wanted = saved.pages.iter().peekable();
        for index in 0..self.touched.len() {
            if !self.touched[index] {
                continue;
            }
            let first = index * (HUGE / PAGE);
            for (nth, page) in self.huge_page(index).chunks_exact_mut(PAGE).enumerate() {
                match wanted.next_if(|(number, _)| *number as usize == first + nth) {
                    Some((_, bytes)) => page.copy_from_slice(bytes),
                    None if is_zero(page) => {}
                    None => page.fill(0),
                }
            }
        }
        Ok(())
    }

    /// Asks the host which huge pages exist: one that was never touched has no memory behind it.
    fn note_touched(&mut self) {
        let mut resident = vec![0_u8; self.size / PAGE];
        // SAFETY: `base` is page-aligned and `size` bytes long, and the vector has one byte for
        // each of its pages.
        let answer = unsafe { libc::mincore(self.base.cast(), self.size, resident.as_mut_ptr()) };
        for (index, touched) in self.touched.iter_mut().enumerate() {
            let pages = &resident[index * (HUGE / PAGE)..];
            let any = pages.iter().take(HUGE / PAGE).any(|page| page & 1 != 0);
            *touched = *touched || answer != 0 || any;
        }
    }

    fn huge_page(&mut self, index: usize) -> &mut [u8] {
        let start = index * HUGE;
        let length = HUGE.min(self.size - start);
        // SAFETY: the range lies within the mapping. The guest does not run while `&mut self` is
        // held, and devices only reach the memory through `&self`.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(start), length) }
    }
}

fn is_zero(page: &[u8]) -> bool {
    page.chunks_exact(64)
        .all(|line| line.iter().fold(0, |sum, byte| sum | byte) == 0)
}

impl Drop for Ram {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length; the regions in `memory` do not
        // own it and are dropped with `self`.
        unsafe { libc::munmap(self.mapping.cast(), self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::Bytes;

    use super::*;

    fn poke(ram: &Ram, address: u64, value: u8) {
        ram.memory()
            .write_obj(value, GuestAddress(address))
            .unwrap();
    }

    fn peek(ram: &Ram, address: u64) -> u8 {
        ram.memory().read_obj(GuestAddress(address)).unwrap()
    }

    #[test]
    fn restore_brings_back_exactly_what_was_saved() {
        let mut ram = Ram::new(16).unwrap();
        poke(&ram, 0x5000, 1);
        poke(&ram, 0x90_0000, 2);
        let first = ram.save(None);
        poke(&ram, 0x5000, 3);
        poke(&ram, 0xd0_0000, 4);
        let second = ram.save(Some(&first));
        assert!(
            Arc::ptr_eq(&first.pages[1].1, &second.pages[1].1),
            "an unchanged page is shared"
        );
        ram.restore(&first).unwrap();
        assert_eq!(
            [0x5000, 0x90_0000, 0xd0_0000].map(|at| peek(&ram, at)),
            [1, 2, 0]
        );
        assert_eq!(ram.save(None), first);
        ram.clear();
        assert_eq!(ram.save(None).pages.len(), 0);
        ram.restore(&second).unwrap();
        assert_eq!(
            [0x5000, 0x90_0000, 0xd0_0000].map(|at| peek(&ram, at)),
            [3, 2, 4]
        );
    }

    #[test]
    fn the_alias_of_the_rom_is_a_hole() {
        let ram = Ram::new(16).unwrap();
        assert!(
            ram.memory()
                .write_obj(1_u8, GuestAddress(HOLE_START))
                .is_err()
        );
        assert!(ram.memory().write_obj(1_u8, GuestAddress(HOLE_END)).is_ok());
    }

    #[test]
    fn ram_may_end_at_the_hole() {
        let mut ram = Ram::new(1).unwrap();
        let write = |at| ram.memory().write_obj(1_u8, GuestAddress(at)).is_ok();
        assert_eq!([0, HOLE_START - 1].map(write), [true; 2]);
        assert_eq!([HOLE_START, HOLE_END].map(write), [false; 2]);
        let saved = ram.save(None);
        ram.clear();
        assert_eq!(ram.save(None).pages.len(), 0);
        ram.restore(&saved).unwrap();
        assert_eq!([0, HOLE_START - 1].map(|at| peek(&ram, at)), [1, 1]);
    }

    #[test]
    fn another_size_is_refused() {
        let mut small = Ram::new(16).unwrap();
        let saved = Ram::new(32).unwrap().save(None);
        assert!(small.restore(&saved).is_err());
    }
}
