//! Requests of virtio-blk, right and wrong (virtio 1.4 §5.2.6).

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::Request;

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;

/// A request to a volume of some dozen sectors.
#[derive(Debug)]
pub struct BlockRequest {
    header: [u8; 16],
    data: Vec<u8>,
    room: u32,
}

impl Request for BlockRequest {
    fn readable(&self) -> Vec<u8> {
        [&self.header[..], &self.data].concat()
    }

    fn room(&self) -> u32 {
        self.room
    }
}

impl<'a> Arbitrary<'a> for BlockRequest {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<BlockRequest> {
        let kind = *u.choose(&[IN, IN, OUT, OUT, OUT, FLUSH, FLUSH, GET_ID])?;
        let sector = u64::from(u.arbitrary::<u8>()? % 32);
        let sectors = 1 + usize::from(u.arbitrary::<u8>()? % 8);
        let mut data = Vec::new();
        let mut room = 1;
        match kind {
            OUT => data.resize(sectors * 512, u.arbitrary()?),
            IN => room += u32::try_from(sectors).unwrap_or(1) * 512,
            GET_ID => room += 20,
            _ => {}
        }
        let mut header = [0; 16];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        if u.ratio(1, 16)? {
            header[usize::from(u.int_in_range(0..=15u8)?)] = u.arbitrary()?;
        }
        if u.ratio(1, 32)? {
            room = u32::from(u.arbitrary::<u16>()?);
        }
        if u.ratio(1, 32)? {
            data.truncate(usize::from(u.arbitrary::<u16>()?));
        }
        Ok(BlockRequest { header, data, room })
    }
}
