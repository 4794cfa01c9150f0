//! Fixed-format sense data (SPC-4 §4.5.3).

/// Length of the sense data this target returns.
pub const SENSE_LENGTH: usize = 18;

/// Sense key (SPC-4 table 43): what kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SenseKey {
    /// Nothing to report.
    NoSense = 0x0,
    /// The logical unit cannot be accessed now.
    NotReady = 0x2,
    /// The medium is at fault.
    MediumError = 0x3,
    /// The command or its parameters are wrong.
    IllegalRequest = 0x5,
    /// Something happened that the initiator must know before it goes on.
    UnitAttention = 0x6,
    /// The target gave the command up.
    AbortedCommand = 0xb,
}

/// One condition: key, additional code and, for a wrong field, where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    /// What kind of trouble.
    pub key: SenseKey,
    /// Additional sense code.
    pub code: u8,
    /// Additional sense code qualifier.
    pub qualifier: u8,
    /// Byte of the CDB that is wrong (SPC-4 §4.5.2.4.2, C/D = 1).
    pub cdb_byte: Option<u8>,
}

impl Sense {
    const fn new(key: SenseKey, code: u8, qualifier: u8) -> Sense {
        Sense {
            key,
            code,
            qualifier,
            cdb_byte: None,
        }
    }

    /// Nothing to report.
    pub const NONE: Sense = Sense::new(SenseKey::NoSense, 0x00, 0x00);
    /// INVALID COMMAND OPERATION CODE.
    pub const INVALID_OPCODE: Sense = Sense {
        cdb_byte: Some(0),
        ..Sense::new(SenseKey::IllegalRequest, 0x20, 0x00)
    };
    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    pub const LBA_OUT_OF_RANGE: Sense = Sense::new(SenseKey::IllegalRequest, 0x21, 0x00);
    /// LOGICAL UNIT NOT SUPPORTED.
    pub const LUN_NOT_SUPPORTED: Sense = Sense::new(SenseKey::IllegalRequest, 0x25, 0x00);
    /// LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE.
    pub const STANDBY: Sense = Sense::new(SenseKey::NotReady, 0x04, 0x0b);
    /// LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE.
    pub const UNAVAILABLE: Sense = Sense::new(SenseKey::NotReady, 0x04, 0x0c);
    /// POWER ON, RESET, OR BUS DEVICE RESET OCCURRED.
    pub const RESET_OCCURRED: Sense = Sense::new(SenseKey::UnitAttention, 0x29, 0x00);
    /// ASYMMETRIC ACCESS STATE CHANGED.
    pub const ACCESS_STATE_CHANGED: Sense = Sense::new(SenseKey::UnitAttention, 0x2a, 0x06);
    /// WRITE ERROR.
    pub const WRITE_ERROR: Sense = Sense::new(SenseKey::MediumError, 0x0c, 0x00);
    /// UNRECOVERED READ ERROR.
    pub const READ_ERROR: Sense = Sense::new(SenseKey::MediumError, 0x11, 0x00);
    /// DATA PHASE ERROR: fewer data arrived than the command announced.
    pub const DATA_PHASE_ERROR: Sense = Sense::new(SenseKey::AbortedCommand, 0x4b, 0x00);

    /// INVALID FIELD IN CDB, at `byte`.
    pub const fn invalid_field(byte: u8) -> Sense {
        Sense {
            cdb_byte: Some(byte),
            ..Sense::new(SenseKey::IllegalRequest, 0x24, 0x00)
        }
    }

    /// The bytes that travel: response code 70h, current error.
    pub fn encode(&self) -> [u8; SENSE_LENGTH] {
        let mut bytes = [0; SENSE_LENGTH];
        bytes[0] = 0x70;
        bytes[2] = self.key as u8;
        // ADDITIONAL SENSE LENGTH counts the bytes after byte 7.
        bytes[7] = 10;
        bytes[12] = self.code;
        bytes[13] = self.qualifier;
        if let Some(byte) = self.cdb_byte {
            bytes[15] = 0x80 | 0x40; // SKSV, C/D
            bytes[17] = byte;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_pointed_at() {
        let bytes = Sense::invalid_field(6).encode();
        assert_eq!(bytes[..8], [0x70, 0, 5, 0, 0, 0, 0, 10]);
        assert_eq!(bytes[12..], [0x24, 0, 0, 0xc0, 0, 6]);
    }

    #[test]
    fn standby_is_02_04_0b_without_a_pointer() {
        let bytes = Sense::STANDBY.encode();
        assert_eq!((bytes[2], bytes[12], bytes[13]), (0x02, 0x04, 0x0b));
        assert_eq!(bytes[15], 0);
    }
}
