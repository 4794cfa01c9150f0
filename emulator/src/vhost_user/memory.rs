//! The memory a front-end shares, and the two kinds of addresses it uses.

use std::fs::File;
use std::sync::Arc;

use devices::virtio::GuestMemory;
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vhost::vhost_user::{Error, Result};
use vm_memory::{GuestAddress, GuestRegionMmap};

use super::hole::Guarded;

/// Where the guest's memory is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySource {
    /// The owner of the connection has it already: only addresses matter.
    Owned,
    /// The front-end hands it over.
    Shared,
}

/// What SET_MEM_TABLE said.
#[derive(Debug, Default)]
pub(super) struct Table {
    regions: Vec<Region>,
    /// Where it comes from the front-end.
    pub(super) mapped: Option<Arc<Mapped>>,
}

/// Memory that a front-end shares.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) memory: GuestMemory,
    /// Files may be cut short under our hands.
    _guarded: Vec<Guarded>,
}

#[derive(Clone, Copy, Debug)]
struct Region {
    user_addr: u64,
    guest_addr: u64,
    bytes: u64,
}

impl Table {
    /// Takes a whole table. What was mapped before stays mapped as long as somebody holds it.
    pub(super) fn new(
        source: MemorySource,
        told: &[VhostUserMemoryRegion],
        files: Vec<File>,
    ) -> Result<Table> {
        let regions = told.iter().map(|region| Region {
            user_addr: region.user_addr,
            guest_addr: region.guest_phys_addr,
            bytes: region.memory_size,
        });
        let mapped = match source {
            MemorySource::Owned => None,
            MemorySource::Shared => Some(Arc::new(map(told, files)?)),
        };
        Ok(Table {
            regions: regions.collect(),
            mapped,
        })
    }

    /// The guest-physical address of what the front-end sees at `user_addr`.
    pub(super) fn guest_address(&self, user_addr: u64) -> Option<u64> {
        self.regions.iter().find_map(|region| {
            let offset = user_addr.checked_sub(region.user_addr)?;
            (offset < region.bytes).then(|| region.guest_addr.checked_add(offset))?
        })
    }
}

/// Refuses a file that is shorter than what it is said to hold. (It may be cut short later: see `hole.rs`.)
pub(super) fn holds(file: &File, offset: u64, bytes: u64) -> Result<()> {
    let facts = file.metadata().map_err(Error::ReqHandlerError)?;
    let end = offset.checked_add(bytes).ok_or(Error::InvalidParam)?;
    // Devices, which some front-ends have memory in, have no length.
    if facts.is_file() && facts.len() < end {
        let what = "a memory file shorter than it is said to be";
        return Err(Error::ReqHandlerError(std::io::Error::other(what)));
    }
    Ok(())
}

fn map(told: &[VhostUserMemoryRegion], files: Vec<File>) -> Result<Mapped> {
    let broken = |error: String| Error::ReqHandlerError(std::io::Error::other(error));
    let (mut mapped, mut guarded) = (Vec::new(), Vec::new());
    for (region, file) in told.iter().zip(files) {
        holds(&file, region.mmap_offset, region.memory_size)?;
        let memory = region.mmap_region(file)?;
        let start = memory.as_ptr() as usize;
        let guard = Guarded::new(&(start..start.saturating_add(memory.size())));
        guarded.push(guard.ok_or_else(|| broken("too many memory regions".to_owned()))?);
        let start = GuestAddress(region.guest_phys_addr);
        let region = GuestRegionMmap::new(memory, start)
            .ok_or_else(|| broken("a memory region beyond the address space".to_owned()))?;
        mapped.push(region);
    }
    mapped.sort_by_key(|region| vm_memory::GuestMemoryRegion::start_addr(region).0);
    let memory = GuestMemory::from_regions(mapped).map_err(|error| broken(error.to_string()))?;
    Ok(Mapped {
        memory,
        _guarded: guarded,
    })
}
