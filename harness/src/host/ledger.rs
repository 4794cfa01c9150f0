//! What every block of the volume may hold.
//!
//! The host writes each sector with its address, a sequence number and a pattern of both. A sector must
//! then hold the last write that was acknowledged, or one that was sent later and whose outcome
//! is not known: SCSI promises no more of a write that was cut short. Anything else is a lost or
//! misplaced write.

use std::collections::BTreeMap;

/// Bytes of a sector, the unit that is written whole or not at all.
const SECTOR_BYTES: usize = 512;
const MAGIC: u64 = 0x6861_7272_6179_3031;

/// What may be in one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Block {
    acknowledged: Option<u64>,
    /// Sent after `acknowledged`, outcome unknown.
    uncertain: Vec<u64>,
}

/// The ledger. Plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    block_bytes: usize,
    blocks: BTreeMap<u64, Block>,
    next_sequence: u64,
}

impl Ledger {
    /// A ledger of blocks of `block_bytes` bytes, a multiple of 512.
    pub fn new(block_bytes: usize) -> Ledger {
        Ledger {
            block_bytes,
            blocks: BTreeMap::new(),
            next_sequence: 0,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// The contents for the next write of block `index`.
    pub fn prepare(&mut self, index: u64) -> (u64, Vec<u8>) {
        self.next_sequence += 1;
        let sequence = self.next_sequence;
        self.blocks
            .entry(index)
            .or_default()
            .uncertain
            .push(sequence);
        (sequence, contents(index, sequence, self.block_bytes))
    }

    /// The write of `sequence` to block `index` was acknowledged.
    pub fn acknowledge(&mut self, index: u64, sequence: u64) {
        let block = self.blocks.entry(index).or_default();
        block.acknowledged = block.acknowledged.max(Some(sequence));
        block.uncertain.retain(|uncertain| *uncertain > sequence);
    }

    /// Whether block `index` may hold `bytes`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self, index: u64, bytes: &[u8]) -> Result<(), String> {
        let block = self.blocks.get(&index).cloned().unwrap_or_default();
        let expected = block
            .acknowledged
            .map_or("nothing".to_owned(), |n| format!("write {n}"));
        for (nth, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            if block.acknowledged.is_none() && sector.iter().all(|byte| *byte == 0) {
                continue;
            }
            let what = format!("sector {nth} of block {index}");
            let Some(found) = read_back(index, nth, sector) else {
                return Err(format!(
                    "{what} is none the host wrote; expected {expected}"
                ));
            };
            if block.acknowledged != Some(found) && !block.uncertain.contains(&found) {
                return Err(format!("{what} holds write {found}; expected {expected}"));
            }
        }
        Ok(())
    }

    /// Every block that was ever written, ascending.
    pub fn written(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.keys().copied()
    }

    /// How many blocks hold an acknowledged write.
    pub fn acknowledged(&self) -> usize {
        self.blocks
            .values()
            .filter(|block| block.acknowledged.is_some())
            .count()
    }
}

fn contents(index: u64, sequence: u64, block_bytes: usize) -> Vec<u8> {
    (0..block_bytes / SECTOR_BYTES)
        .flat_map(|nth| sector(index, nth, sequence))
        .collect()
}

fn sector(index: u64, nth: usize, sequence: u64) -> [u8; SECTOR_BYTES] {
    let mut bytes = [0; SECTOR_BYTES];
    for (word, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        let value = match word {
            0 => MAGIC,
            1 => index,
            2 => nth as u64,
            3 => sequence,
            // Every word depends on address and sequence, so that a torn sector cannot pass.
            _ => devices::power::mix(index ^ sequence << 32, (nth * 64 + word) as u64),
        };
        chunk.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// The sequence number of a whole sector `nth` written to block `index`.
fn read_back(index: u64, nth: usize, bytes: &[u8]) -> Option<u64> {
    let sequence = u64::from_le_bytes(bytes.get(24..32)?.try_into().ok()?);
    (sector(index, nth, sequence) == bytes).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK_BYTES: usize = 4096;

    #[test]
    fn acknowledged_uncertain_and_lost() {
        let mut ledger = Ledger::new(BLOCK_BYTES);
        let (one, first) = ledger.prepare(7);
        ledger.acknowledge(7, one);
        let (two, second) = ledger.prepare(7);
        assert!(ledger.check(7, &first).is_ok());
        assert!(ledger.check(7, &second).is_ok(), "sent, so it may be there");
        ledger.acknowledge(7, two);
        assert!(
            ledger
                .check(7, &first)
                .unwrap_err()
                .contains("holds write 1")
        );
        assert!(ledger.check(7, &vec![0; BLOCK_BYTES]).is_err(), "gone");
        assert!(ledger.check(8, &second).is_err(), "misplaced");
        let mut torn = second.clone();
        torn[2048..].copy_from_slice(&first[2048..]);
        assert!(ledger.check(7, &torn).is_err(), "half of it lost");
        torn[..2048].copy_from_slice(&second[2048..]);
        assert!(ledger.check(7, &torn).is_err(), "sectors trade places");
        let (_, third) = ledger.prepare(7);
        let mut cut = second.clone();
        cut[512..1024].copy_from_slice(&third[512..1024]);
        assert!(
            ledger.check(7, &cut).is_ok(),
            "a write cut short, sector by sector"
        );
        cut[600..700].fill(0);
        assert!(ledger.check(7, &cut).is_err(), "a torn sector");
    }

    #[test]
    fn a_block_never_acknowledged_may_be_blank_or_written() {
        let mut ledger = Ledger::new(BLOCK_BYTES);
        let (_, bytes) = ledger.prepare(1);
        assert!(ledger.check(1, &vec![0; BLOCK_BYTES]).is_ok());
        assert!(ledger.check(1, &bytes).is_ok());
        assert!(ledger.check(1, &vec![1; BLOCK_BYTES]).is_err());
    }
}
