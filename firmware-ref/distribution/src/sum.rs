//! CRC-32 as in IEEE 802.3, in 64 bytes of table: those of libraries have a KiB, a sixteenth of a boot ROM, or none
//! and take four times as long.

/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// What four bits do to the sum.
static TABLE: [u32; 16] = table();

const fn table() -> [u32; 16] {
    let mut table = [0; 16];
    let mut bits = 0;
    while bits < 16 {
        let mut sum = bits;
        let mut step = 0;
        while step < 4 {
            sum = if sum & 1 != 0 {
                sum >> 1 ^ POLYNOMIAL
            } else {
                sum >> 1
            };
            step += 1;
        }
        table[bits as usize] = sum;
        bits += 1;
    }
    table
}

/// The sum.
#[derive(Clone, Copy, Debug)]
pub struct Crc32;

impl Crc32 {
    /// Of `bytes`.
    pub fn checksum(self, bytes: &[u8]) -> u32 {
        let mut digest = self.digest();
        digest.update(bytes);
        digest.finalize()
    }

    /// Of nothing yet.
    pub fn digest(self) -> Digest {
        Digest(u32::MAX)
    }
}

/// The sum of what passes.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u32);

impl Digest {
    /// These bytes come next.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            for _ in 0..2 {
                // Four bits are an index that there is.
                let index = (self.0 & 0xf) as usize;
                self.0 = self.0 >> 4 ^ TABLE.get(index).copied().unwrap_or(0);
            }
        }
    }

    /// Of all of them.
    pub fn finalize(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_sum_of_everybody_else(bytes: Vec<u8>, cut: prop::sample::Index) {
            let known = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
            prop_assert_eq!(Crc32.checksum(&bytes), known.checksum(&bytes));
            let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut digest = Crc32.digest();
            digest.update(first);
            digest.update(second);
            prop_assert_eq!(digest.finalize(), known.checksum(&bytes));
        }
    }
}
