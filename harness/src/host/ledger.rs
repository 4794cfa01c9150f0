//! What every block of the volume may hold.
//!
//! The host writes each block with its address, a sequence number and a checksum. A block must
//! then hold the last write that was acknowledged, or one that was sent later and whose outcome
//! is not known. Anything else is a lost, torn or misplaced write.

use std::collections::BTreeMap;

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
        if block.acknowledged.is_none() && bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let expected = block
            .acknowledged
            .map_or("nothing".to_owned(), |n| format!("write {n}"));
        let Some(found) = read_back(index, bytes) else {
            return Err(format!(
                "block {index} is not a block the host wrote; expected {expected}"
            ));
        };
        if block.acknowledged == Some(found) || block.uncertain.contains(&found) {
            Ok(())
        } else {
            Err(format!(
                "block {index} holds write {found}; expected {expected}"
            ))
        }
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
    let mut bytes = vec![0; block_bytes];
    for (word, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        let value = match word {
            0 => MAGIC,
            1 => index,
            2 => sequence,
            // Every word depends on address and sequence, so that a torn block cannot pass.
            _ => devices::power::mix(index ^ sequence << 32, word as u64),
        };
        chunk.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// The sequence number of a whole block written to `index`.
fn read_back(index: u64, bytes: &[u8]) -> Option<u64> {
    let sequence = u64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?);
    (contents(index, sequence, bytes.len()) == bytes).then_some(sequence)
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
        assert!(ledger.check(7, &torn).is_err(), "torn");
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
