//! What the boot ROM tells the image, in the hand-over page at `0x8000`; 28 bytes, little-endian:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | `ABNH` |
//! | 4 | 1 | ABI = 1 |
//! | 5 | 1 | node number |
//! | 6 | 1 | type |
//! | 7 | 1 | set |
//! | 8 | 1 | boots |
//! | 9 | 3 | zero |
//! | 12 | 4 | version, as in the container |
//! | 16 | 8 | virtual time when the ROM let go, ns |
//! | 24 | 4 | CRC-32 of all before it |
//!
//! It outlives any one build: ROMs stay, images come.

use distribution::{CRC32, Identity, Module, VersionTag};
use runtime::handoff;

const MAGIC: [u8; 4] = *b"ABNH";
const ABI: u8 = 1;
const SUM_AT: usize = 24;
const BYTES: usize = SUM_AT + 4;

/// Who runs what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Who the node is.
    pub identity: Identity,
    /// The version of the image, as its container says.
    pub version: VersionTag,
    /// Virtual time when the ROM let go.
    pub now_ns: u64,
}

impl Handover {
    /// Puts it into the page.
    pub fn store(&self) {
        handoff::store_bytes(&self.encode());
    }

    /// Reads the page; nothing if no boot ROM left a whole one.
    pub fn load() -> Option<Handover> {
        Handover::decode(&handoff::load_bytes())
    }

    fn encode(&self) -> [u8; BYTES] {
        let [m0, m1, m2, m3] = MAGIC;
        let [v0, v1, v2, v3] = self.version.to_bytes();
        let [t0, t1, t2, t3, t4, t5, t6, t7] = self.now_ns.to_le_bytes();
        let Identity {
            node,
            module,
            set,
            boots,
        } = self.identity;
        let said = [
            m0,
            m1,
            m2,
            m3,
            ABI,
            node,
            module as u8,
            set,
            boots,
            0,
            0,
            0,
            v0,
            v1,
            v2,
            v3,
            t0,
            t1,
            t2,
            t3,
            t4,
            t5,
            t6,
            t7,
        ];
        let mut bytes = [0; BYTES];
        let (body, sum) = bytes.split_at_mut(SUM_AT);
        body.copy_from_slice(&said);
        sum.copy_from_slice(&CRC32.checksum(&said).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; BYTES]) -> Option<Handover> {
        let (said, sum) = bytes.split_last_chunk()?;
        let rest = said.strip_prefix(&MAGIC)?;
        let &[
            ABI,
            node,
            module,
            set,
            boots,
            _,
            _,
            _,
            v0,
            v1,
            v2,
            v3,
            ref time @ ..,
        ] = rest
        else {
            return None;
        };
        (CRC32.checksum(said) == u32::from_le_bytes(*sum)).then_some(Handover {
            identity: Identity {
                node,
                module: Module::from_number(module)?,
                set,
                boots,
            },
            version: VersionTag::from_bytes([v0, v1, v2, v3]),
            now_ns: u64::from_le_bytes(*time.first_chunk()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cd45_what_was_handed_over_reads_back_and_nothing_else_does() {
        let handover = Handover {
            identity: Identity {
                node: 9,
                module: Module::Panel,
                set: 2,
                boots: 255,
            },
            version: VersionTag::from_bytes([2, 0, 0x34, 0x12]),
            now_ns: 0x0123_4567_89ab_cdef,
        };
        let mut bytes = handover.encode();
        assert_eq!(Handover::decode(&bytes), Some(handover));
        for at in 0..BYTES {
            bytes[at] ^= 1;
            assert_eq!(Handover::decode(&bytes), None, "byte {at} altered");
            bytes[at] ^= 1;
        }
        assert_eq!(Handover::decode(&[0; BYTES]), None);
    }
}
