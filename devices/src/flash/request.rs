//! The header of a virtio SPI transfer request (virtio 1.4 §5.21.6.1), and the checks on it.

use super::bus::{BusLimits, Transfer};

/// `struct virtio_spi_transfer_head`.
pub(super) const HEAD_BYTES: usize = 32;

/// `result`: the transfer was done.
pub(super) const TRANS_OK: u8 = 0;
/// `result`: a parameter is not valid or not supported.
pub(super) const PARAM_ERR: u8 = 1;
/// `result`: the parameters are valid but the transfer failed.
pub(super) const TRANS_ERR: u8 = 2;

/// Size of the words on the wire: NOR chips speak bytes.
pub(super) const BITS_PER_WORD: u8 = 8;

/// Reads and checks a header. The reserved bytes are not looked at.
///
/// # Errors
/// What is not valid or not supported, in words.
pub(super) fn parse(
    head: &[u8; HEAD_BYTES],
    chips: usize,
    limits: &BusLimits,
) -> Result<Transfer, &'static str> {
    let [
        chip,
        bits_per_word,
        cs_change,
        tx_nbits,
        rx_nbits,
        _,
        _,
        _,
        words @ ..,
    ] = *head;
    let word = |index: usize| {
        let bytes = words.iter().skip(4 * index).take(4).rev();
        bytes.fold(0u32, |value, byte| value << 8 | u32::from(*byte))
    };
    let [mode, frequency_hz, word_delay_ns] = [word(0), word(1), word(2)];
    let [setup_ns, hold_ns, inactive_ns] = [word(3), word(4), word(5)];
    if usize::from(chip) >= chips {
        return Err("chip_select_id selects no chip");
    }
    if bits_per_word != BITS_PER_WORD {
        return Err("bits_per_word is not supported");
    }
    if cs_change > 1 {
        return Err("cs_change is neither 0 nor 1");
    }
    // 0 and 1 both mean a single data line.
    if tx_nbits > 1 || rx_nbits > 1 {
        return Err("tx_nbits or rx_nbits is not supported");
    }
    if mode != 0 {
        return Err("mode is not supported");
    }
    if frequency_hz == 0 || (limits.frequency_hz != 0 && frequency_hz > limits.frequency_hz) {
        return Err("freq is zero or above max_freq_hz");
    }
    let delays_fit = word_delay_ns <= limits.word_delay_ns
        && setup_ns <= limits.setup_ns
        && hold_ns <= limits.hold_ns
        && inactive_ns <= limits.inactive_ns;
    if !delays_fit {
        return Err("a delay is longer than supported");
    }
    Ok(Transfer {
        chip,
        frequency_hz,
        deselect: cs_change == 1,
        word_delay_ns,
        setup_ns,
        hold_ns,
        inactive_ns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with every field set to something valid, then one byte or word changed.
    fn head(change: impl FnOnce(&mut [u8; HEAD_BYTES])) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..5].copy_from_slice(&[1, 8, 1, 0, 1]);
        for (at, value) in [(12, 50_000_000), (16, 1u32), (20, 2), (24, 3), (28, 4)] {
            head[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        change(&mut head);
        head
    }

    #[test]
    fn fields_land_where_the_standard_has_them() {
        let parsed = parse(&head(|_| ()), 2, &BusLimits::default());
        let wanted = Transfer {
            chip: 1,
            frequency_hz: 50_000_000,
            deselect: true,
            word_delay_ns: 1,
            setup_ns: 2,
            hold_ns: 3,
            inactive_ns: 4,
        };
        assert_eq!(parsed, Ok(wanted));
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        let check = |at: usize, value: &[u8], wanted: Option<&str>| {
            let head = head(|head| head[at..at + value.len()].copy_from_slice(value));
            let found = parse(&head, 2, &BusLimits::default()).err();
            match (found, wanted) {
                (None, None) => {}
                (Some(why), Some(word)) if why.contains(word) => {}
                _ => panic!("byte {at} = {value:?}: {found:?}"),
            }
        };
        check(0, &[2], Some("chip_select_id"));
        check(0, &[255], Some("chip_select_id"));
        check(1, &[0], Some("bits_per_word"));
        check(1, &[16], Some("bits_per_word"));
        check(2, &[0], None);
        check(2, &[2], Some("cs_change"));
        check(3, &[2], Some("nbits"));
        check(4, &[0], None);
        check(4, &[8], Some("nbits"));
        check(5, &[1, 2, 3], None);
        for bit in 0..5 {
            check(8, &(1u32 << bit).to_le_bytes(), Some("mode"));
        }
        check(11, &[0x80], Some("mode"));
        check(12, &[0; 4], Some("freq"));
        check(12, &50_000_001u32.to_le_bytes(), Some("freq"));
        check(12, &1u32.to_le_bytes(), None);
        check(16, &u32::MAX.to_le_bytes(), Some("delay"));
        check(20, &u32::MAX.to_le_bytes(), Some("delay"));
        check(24, &u32::MAX.to_le_bytes(), Some("delay"));
        check(28, &u32::MAX.to_le_bytes(), Some("delay"));
        check(28, &2_000_000_000u32.to_le_bytes(), None);
    }
}
