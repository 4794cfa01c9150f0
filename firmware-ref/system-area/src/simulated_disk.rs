//! A disk with a volatile cache whose power can be cut at any operation.

use std::collections::BTreeMap;

use crate::device::{BlockDevice, IoError, SECTOR_SIZE};

/// Sectors beyond the package area do not matter here.
const SECTORS: u64 = crate::HOST_VOLUME_START + 1;

/// SplitMix64, as the bench's media use it.
pub(crate) fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

type Sector = [u8; SECTOR_SIZE];

/// Durable sectors, and those that only the cache holds.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedDisk {
    durable: BTreeMap<u64, Sector>,
    cache: BTreeMap<u64, Sector>,
    /// Writes and flushes that are still carried out.
    pub(crate) operations_left: u64,
    /// Writes and flushes asked for.
    pub(crate) operations: u64,
    /// Bytes read so far.
    pub(crate) bytes_read: u64,
    /// Reads so far.
    pub(crate) reads: u64,
    pub(crate) reachable: bool,
}

impl SimulatedDisk {
    pub(crate) fn new() -> SimulatedDisk {
        SimulatedDisk {
            durable: BTreeMap::new(),
            cache: BTreeMap::new(),
            operations_left: u64::MAX,
            operations: 0,
            bytes_read: 0,
            reads: 0,
            reachable: true,
        }
    }

    pub(crate) fn sector(&self, sector: u64) -> Sector {
        let written = self.cache.get(&sector).or(self.durable.get(&sector));
        written.copied().unwrap_or([0; SECTOR_SIZE])
    }

    pub(crate) fn set(&mut self, sector: u64, byte: usize, value: u8) {
        let mut contents = self.sector(sector);
        contents[byte] = value;
        self.durable.insert(sector, contents);
    }

    /// Power comes back: of what only the cache held, some sectors arrived whole, some not, and
    /// some as a prefix, as `seed` has it.
    pub(crate) fn power_cycle(&mut self, seed: u64) {
        for (sector, contents) in std::mem::take(&mut self.cache) {
            let chance = mix(seed, sector);
            let kept = match chance % 4 {
                0 => 0,
                1 => usize::try_from(chance >> 32).unwrap_or(0) % SECTOR_SIZE,
                _ => SECTOR_SIZE,
            };
            let place = self.durable.entry(sector).or_insert([0; SECTOR_SIZE]);
            place[..kept].copy_from_slice(&contents[..kept]);
        }
        self.operations_left = u64::MAX;
    }

    /// Counts an operation; false when the power is gone. The one during which it goes may have
    /// reached the cache.
    fn begin(&mut self) -> bool {
        self.operations += 1;
        let on = self.operations_left > 0;
        self.operations_left = self.operations_left.saturating_sub(1);
        on
    }
}

impl BlockDevice for SimulatedDisk {
    fn sectors(&self) -> u64 {
        if self.reachable { SECTORS } else { 0 }
    }

    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), IoError> {
        if self.operations_left == 0 {
            return Err(IoError);
        }
        self.reads += 1;
        self.bytes_read += into.len() as u64;
        for (chunk, at) in into.chunks_mut(SECTOR_SIZE).zip(sector..) {
            chunk.copy_from_slice(&self.sector(at));
        }
        Ok(())
    }

    fn write(&mut self, sector: u64, from: &[u8]) -> Result<(), IoError> {
        if self.operations_left == 0 {
            return Err(IoError);
        }
        let on = self.begin();
        for (chunk, at) in from.chunks(SECTOR_SIZE).zip(sector..) {
            let mut contents = [0; SECTOR_SIZE];
            contents.copy_from_slice(chunk);
            self.cache.insert(at, contents);
        }
        // The last operation before the cut reaches the cache, but nobody hears of it.
        if on && self.operations_left > 0 {
            Ok(())
        } else {
            Err(IoError)
        }
    }

    fn flush(&mut self) -> Result<(), IoError> {
        if self.operations_left == 0 {
            return Err(IoError);
        }
        let on = self.begin();
        if on && self.operations_left > 0 {
            self.durable.append(&mut self.cache);
            return Ok(());
        }
        // Interrupted: what the cache held arrives in part.
        Err(IoError)
    }
}
