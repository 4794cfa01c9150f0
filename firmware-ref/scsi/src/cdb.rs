//! Command descriptor blocks: operation codes and fields.

use crate::sense::Sense;

/// A CDB as transports carry it: short ones are padded with zeros.
pub type Cdb = [u8; 16];

/// TEST UNIT READY (SPC-4 §6.47).
pub const TEST_UNIT_READY: u8 = 0x00;
/// REQUEST SENSE (SPC-4 §6.39).
pub const REQUEST_SENSE: u8 = 0x03;
/// INQUIRY (SPC-4 §6.6).
pub const INQUIRY: u8 = 0x12;
/// MODE SENSE (6) (SPC-4 §6.13).
pub const MODE_SENSE_6: u8 = 0x1a;
/// READ CAPACITY (10) (SBC-3 §5.15).
pub const READ_CAPACITY_10: u8 = 0x25;
/// READ (10) (SBC-3 §5.11).
pub const READ_10: u8 = 0x28;
/// WRITE (10) (SBC-3 §5.34).
pub const WRITE_10: u8 = 0x2a;
/// SYNCHRONIZE CACHE (10) (SBC-3 §5.26).
pub const SYNCHRONIZE_CACHE_10: u8 = 0x35;
/// MODE SENSE (10) (SPC-4 §6.14).
pub const MODE_SENSE_10: u8 = 0x5a;
/// READ (16) (SBC-3 §5.13).
pub const READ_16: u8 = 0x88;
/// WRITE (16) (SBC-3 §5.36).
pub const WRITE_16: u8 = 0x8a;
/// SYNCHRONIZE CACHE (16) (SBC-3 §5.27).
pub const SYNCHRONIZE_CACHE_16: u8 = 0x91;
/// SERVICE ACTION IN (16), which READ CAPACITY (16) is a service action of (SBC-3 §5.16).
pub const SERVICE_ACTION_IN_16: u8 = 0x9e;
/// READ CAPACITY (16) among the service actions of 9Eh.
pub const READ_CAPACITY_16_ACTION: u8 = 0x10;
/// REPORT LUNS (SPC-4 §6.33).
pub const REPORT_LUNS: u8 = 0xa0;
/// MAINTENANCE IN, which REPORT TARGET PORT GROUPS is a service action of (SPC-4 §6.37).
pub const MAINTENANCE_IN: u8 = 0xa3;
/// REPORT TARGET PORT GROUPS among the service actions of A3h.
pub const REPORT_TARGET_PORT_GROUPS_ACTION: u8 = 0x0a;

/// Big-endian 16 bits at `at`; 0 past the end.
pub fn be16(cdb: &Cdb, at: usize) -> u16 {
    field::<2>(cdb, at).map_or(0, u16::from_be_bytes)
}

/// Big-endian 32 bits at `at`; 0 past the end.
pub fn be32(cdb: &Cdb, at: usize) -> u32 {
    field::<4>(cdb, at).map_or(0, u32::from_be_bytes)
}

/// Big-endian 64 bits at `at`; 0 past the end.
pub fn be64(cdb: &Cdb, at: usize) -> u64 {
    field::<8>(cdb, at).map_or(0, u64::from_be_bytes)
}

fn field<const N: usize>(cdb: &Cdb, at: usize) -> Option<[u8; N]> {
    cdb.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Blocks that a READ, WRITE or SYNCHRONIZE CACHE names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First logical block.
    pub lba: u64,
    /// Number of logical blocks.
    pub blocks: u32,
}

impl Extent {
    /// The extent of a 10- or 16-byte command, inside `capacity` blocks.
    ///
    /// # Errors
    /// The extent ends past the capacity, or a protection field is set though the unit has no
    /// protection information (SBC-3 table 43).
    pub fn parse(cdb: &Cdb, long: bool, capacity: u64) -> Result<Extent, Sense> {
        let extent = if long {
            Extent {
                lba: be64(cdb, 2),
                blocks: be32(cdb, 10),
            }
        } else {
            Extent {
                lba: u64::from(be32(cdb, 2)),
                blocks: u32::from(be16(cdb, 7)),
            }
        };
        // SBC-3 §4.5: an LBA equal to the capacity with no blocks is out of range too.
        let end = extent.lba.checked_add(u64::from(extent.blocks));
        match end {
            Some(end) if end <= capacity && extent.lba < capacity => Ok(extent),
            _ => Err(Sense::LBA_OUT_OF_RANGE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(long: bool, bytes: &[u8], capacity: u64, expected: Option<(u64, u32)>) {
        let mut cdb = [0; 16];
        cdb[..bytes.len()].copy_from_slice(bytes);
        let found = Extent::parse(&cdb, long, capacity).ok();
        assert_eq!(found.map(|e| (e.lba, e.blocks)), expected, "{bytes:x?}");
    }

    #[test]
    fn extents_end_at_the_capacity() {
        let ten = [0x28, 0, 0, 0, 0, 90, 0, 0, 10, 0];
        check(false, &ten, 100, Some((90, 10)));
        check(false, &ten, 99, None);
        let none = [0x28, 0, 0, 0, 0, 100, 0, 0, 0, 0];
        check(false, &none, 100, None);
        check(false, &none, 101, Some((100, 0)));
        let far = [
            0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2, 0, 0,
        ];
        check(true, &far, u64::MAX, None);
    }
}
