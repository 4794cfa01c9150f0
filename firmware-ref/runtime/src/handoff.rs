//! The hand-over page: what the levels before found out, for those after. One page of memory at a
//! fixed address, written by L1 and L2, read by L2 and L3.
//!
//! Its layout outlives any one build: an L2 may start an L3 of any other version.

use core::ptr::NonNull;

use crate::board_control::SlotMask;
use crate::identity::BankName;
use crate::slot::Slot;

/// Where the page is.
pub const ADDRESS: usize = 0x8000;

const PAGE_BYTES: usize = 4096;

/// Bytes of an image header, carried over as it lies in the bank.
pub const HEADER_BYTES: usize = 256;

const MAGIC: [u8; 4] = *b"ABHO";
const ABI: u32 = 1;

const NOW_AT: usize = 8;
const LIVE_AT: usize = 16;
const FIRST_CHOICE_AT: usize = 64;
const CHOICE_BYTES: usize = 16 + HEADER_BYTES;
const BYTES: usize = FIRST_CHOICE_AT + 2 * CHOICE_BYTES + 4;
const SUM_AT: usize = BYTES - 4;

/// Why a bank was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Both banks are valid, this one was stored last.
    Newest,
    /// The other bank is not valid.
    OnlyValid,
}

impl Reason {
    /// The word used in traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Newest => "newest",
            Reason::OnlyValid => "only-valid",
        }
    }
}

/// The bank a level was started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// A or B.
    pub bank: BankName,
    /// Why it.
    pub reason: Reason,
    /// The header of the image in it.
    pub header: [u8; HEADER_BYTES],
}

/// Contents of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// Virtual time when the level before let go.
    pub now_ns: u64,
    /// Devices left live and idle, their rings in the pages that are shared for it.
    pub live: SlotMask,
    /// What L1 chose to run as L2.
    pub l2: Choice,
    /// What L2 chose to run as L3; `None` on the way from L1 to L2.
    pub l3: Option<Choice>,
}

impl Handoff {
    /// Puts it into the page.
    pub fn store(&self) {
        let bytes = self.encode();
        // SAFETY: the page belongs to the hand-over alone (memory map in firmware-ref/README.md).
        unsafe { page().copy_from_nonoverlapping(NonNull::from(&bytes).cast(), BYTES) };
    }

    /// Reads the page; `None` when no level before left a whole one.
    pub fn load() -> Option<Handoff> {
        let mut bytes = [0; BYTES];
        // SAFETY: as in `store`.
        unsafe { page().copy_to_nonoverlapping(NonNull::from(&mut bytes).cast(), BYTES) };
        Handoff::decode(&bytes)
    }

    /// The device in `slot`, if it was left live and is still so.
    pub(crate) fn take_over(&self, slot: u8, kind: u32) -> Option<Slot> {
        let left_live = self.live.checked_shr(slot.into())? & 1 != 0;
        left_live.then(|| Slot::resume(slot, kind)).flatten()
    }

    fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 4, &ABI.to_le_bytes());
        put(&mut bytes, NOW_AT, &self.now_ns.to_le_bytes());
        put(&mut bytes, LIVE_AT, &self.live.to_le_bytes());
        for (choice, at) in [Some(self.l2), self.l3]
            .into_iter()
            .zip([FIRST_CHOICE_AT, FIRST_CHOICE_AT + CHOICE_BYTES])
        {
            let Some(choice) = choice else { continue };
            let reason = match choice.reason {
                Reason::Newest => 0,
                Reason::OnlyValid => 1,
            };
            put(&mut bytes, at, &[1, choice.bank.number(), reason]);
            put(&mut bytes, at + 16, &choice.header);
        }
        let sum = sum(&bytes[..SUM_AT]);
        put(&mut bytes, SUM_AT, &sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; BYTES]) -> Option<Handoff> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        if !bytes.starts_with(&MAGIC) || word(4)? != ABI || word(SUM_AT)? != sum(&bytes[..SUM_AT]) {
            return None;
        }
        Some(Handoff {
            now_ns: u64::from_le_bytes(*bytes.get(NOW_AT..)?.first_chunk()?),
            live: word(LIVE_AT)?,
            l2: choice(bytes, FIRST_CHOICE_AT)?,
            l3: choice(bytes, FIRST_CHOICE_AT + CHOICE_BYTES),
        })
    }
}

/// Puts `bytes` into the page: nodes of a CAN bus hand over something else.
pub fn store_bytes<const LENGTH: usize>(bytes: &[u8; LENGTH]) {
    const { assert!(LENGTH <= PAGE_BYTES) };
    // SAFETY: as in `Handoff::store`; they fit by the line above.
    unsafe { page().copy_from_nonoverlapping(NonNull::from(bytes).cast(), LENGTH) };
}

/// Reads the first bytes of the page, whatever they are.
pub fn load_bytes<const LENGTH: usize>() -> [u8; LENGTH] {
    const { assert!(LENGTH <= PAGE_BYTES) };
    let mut bytes = [0; LENGTH];
    // SAFETY: as in `store_bytes`.
    unsafe { page().copy_to_nonoverlapping(NonNull::from(&mut bytes).cast(), LENGTH) };
    bytes
}

fn choice(bytes: &[u8; BYTES], at: usize) -> Option<Choice> {
    let &[1, bank, reason] = bytes.get(at..)?.first_chunk()? else {
        return None;
    };
    Some(Choice {
        bank: BankName::from_number(bank)?,
        reason: match reason {
            0 => Reason::Newest,
            1 => Reason::OnlyValid,
            _ => return None,
        },
        header: *bytes.get(at + 16..)?.first_chunk()?,
    })
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + what.len()) {
        place.copy_from_slice(what);
    }
}

/// Tells a page that was written from one that memory happened to hold.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(1, |sum: u32, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
    })
}

fn page() -> NonNull<u8> {
    NonNull::new(core::ptr::with_exposed_provenance_mut(ADDRESS)).unwrap_or(NonNull::dangling())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_over_reads_back_and_nothing_else_does() {
        let l2 = Choice {
            bank: BankName::B,
            reason: Reason::OnlyValid,
            header: [0x5a; HEADER_BYTES],
        };
        let l3 = Choice {
            bank: BankName::A,
            reason: Reason::Newest,
            header: [0xa5; HEADER_BYTES],
        };
        for l3 in [None, Some(l3)] {
            let handoff = Handoff {
                now_ns: 0x0123_4567_89ab_cdef,
                live: 3,
                l2,
                l3,
            };
            let mut bytes = handoff.encode();
            assert_eq!(Handoff::decode(&bytes), Some(handoff));
            for at in 0..BYTES {
                bytes[at] ^= 1;
                assert_eq!(Handoff::decode(&bytes), None, "byte {at} altered");
                bytes[at] ^= 1;
            }
        }
        assert_eq!(Handoff::decode(&[0; BYTES]), None);
    }
}
