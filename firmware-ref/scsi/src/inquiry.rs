//! Standard INQUIRY data (SPC-4 §6.6.2) and the vital product data pages (SPC-4 §7.8, SBC-3 §6.5).

use crate::parameters::Parameters;
use crate::sense::Sense;

/// Supported VPD pages.
pub const PAGE_SUPPORTED_PAGES: u8 = 0x00;
/// Unit serial number.
pub const PAGE_SERIAL_NUMBER: u8 = 0x80;
/// Device identification.
pub const PAGE_DEVICE_IDENTIFICATION: u8 = 0x83;
/// Block limits.
pub const PAGE_BLOCK_LIMITS: u8 = 0xb0;

/// T10 vendor identification.
pub const VENDOR: &[u8; 8] = b"ARRAYBEN";
/// Product identification.
pub const PRODUCT: &[u8; 16] = b"VIRTUAL ARRAY   ";

/// Who answers. The logical unit is the array's: everything that names *it* is the same through
/// every controller, or a multipath host would see two disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Identity of the array, from its system area.
    pub array: u64,
    /// Slot of this controller; decides the target port's identifiers.
    pub slot: u8,
    /// Controllers in the chassis, one target port group each.
    pub controllers: u8,
    /// Version of the running firmware as text, for PRODUCT REVISION LEVEL.
    pub revision: [u8; 4],
}

impl Identity {
    /// The serial number of the logical unit: the array's identity in hexadecimal digits.
    fn serial(&self) -> [u8; 16] {
        let mut text = [0; 16];
        for (place, digit) in text.iter_mut().zip((0..16).rev()) {
            let nibble = (self.array >> (digit * 4)) & 0xf;
            *place = b"0123456789abcdef"
                .get(usize::try_from(nibble).unwrap_or(0))
                .copied()
                .unwrap_or(b'0');
        }
        text
    }

    /// Relative target port and target port group of the controller in `slot`; both start at 1.
    pub(crate) fn port_of(slot: u8) -> u16 {
        u16::from(slot) + 1
    }
}

/// Standard INQUIRY data; `here` is false for a LUN that does not exist (SPC-4 §5.10 wants
/// peripheral qualifier 3).
pub fn standard(identity: &Identity, here: bool) -> Parameters {
    let mut data = Parameters::new();
    data.push(&[
        if here { 0x00 } else { 0x7f },
        0x00,
        0x06, // VERSION: SPC-4
        0x02, // RESPONSE DATA FORMAT
        31,   // ADDITIONAL LENGTH: 36 bytes in all
        0x10, // TPGS = 01b: implicit asymmetric access
        0x00,
        0x02, // CMDQUE
    ]);
    data.push(VENDOR);
    data.push(PRODUCT);
    data.push_text(&identity.revision, 4);
    data
}

/// The VPD page `page`; `transfer_limit` is the longest transfer in blocks.
///
/// # Errors
/// There is no such page.
pub fn vital_product_data(
    identity: &Identity,
    page: u8,
    transfer_limit: u32,
) -> Result<Parameters, Sense> {
    let mut data = Parameters::new();
    data.push(&[0x00, page, 0, 0]);
    match page {
        PAGE_SUPPORTED_PAGES => data.push(&[
            PAGE_SUPPORTED_PAGES,
            PAGE_SERIAL_NUMBER,
            PAGE_DEVICE_IDENTIFICATION,
            PAGE_BLOCK_LIMITS,
        ]),
        PAGE_SERIAL_NUMBER => data.push(&identity.serial()),
        PAGE_DEVICE_IDENTIFICATION => {
            // Logical unit: T10 vendor ID based, ASCII (SPC-4 §7.8.5.4).
            data.push(&[0x02, 0x01, 0, 24]);
            data.push(VENDOR);
            data.push(&identity.serial());
            // Logical unit: NAA locally assigned (type 3h, SPC-4 §7.8.5.6.4).
            data.push(&[0x01, 0x03, 0, 8]);
            data.push(&(0x3000_0000_0000_0000 | (identity.array >> 4)).to_be_bytes());
            let port = Identity::port_of(identity.slot).to_be_bytes();
            // Relative target port, then target port group: association "target port".
            data.push(&[0x01, 0x14, 0, 4, 0, 0, port[0], port[1]]);
            data.push(&[0x01, 0x15, 0, 4, 0, 0, port[0], port[1]]);
        }
        PAGE_BLOCK_LIMITS => {
            data.push(&[0; 60]);
            data.put(8, &transfer_limit.to_be_bytes());
            data.put(12, &transfer_limit.to_be_bytes());
        }
        _ => return Err(Sense::invalid_field(2)),
    }
    let length = data.length_u8().saturating_sub(4);
    data.put(3, &[length]);
    Ok(data)
}
