//! Arithmetic in GF(256) with the polynomial x⁸+x⁴+x³+x²+1 (0x11d), in which RAID 6 counts Q.

/// The polynomial without its highest term.
const POLYNOMIAL: u8 = 0x1d;

/// Powers of two and their logarithms.
struct Tables {
    power: [u8; 255],
    logarithm: [u8; 256],
}

static TABLES: Tables = tables();

const fn tables() -> Tables {
    let mut tables = Tables {
        power: [0; 255],
        logarithm: [0; 256],
    };
    let mut value = 1u8;
    let mut exponent = 0u8;
    while exponent < 255 {
        tables.power[exponent as usize] = value;
        tables.logarithm[value as usize] = exponent;
        value = double(value);
        exponent += 1;
    }
    tables
}

const fn double(value: u8) -> u8 {
    (value << 1) ^ if value & 0x80 == 0 { 0 } else { POLYNOMIAL }
}

/// 2 to the power of `exponent`: the weight of a data column in Q.
pub(super) fn power_of_two(exponent: usize) -> u8 {
    TABLES.power[exponent % 255]
}

/// The product of two elements.
pub(super) fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    let log = |x: u8| usize::from(TABLES.logarithm[usize::from(x)]);
    power_of_two(log(a) + log(b))
}

/// The element that gives one when multiplied with `a`; zero for zero, which has none.
pub(super) fn inverse(a: u8) -> u8 {
    if a == 0 {
        return 0;
    }
    power_of_two(255 - usize::from(TABLES.logarithm[usize::from(a)]))
}

/// Adds `from`, each byte multiplied with `weight`, to `sum`. Addition is exclusive or.
pub(super) fn add_multiple(sum: &mut [u8], from: &[u8], weight: u8) {
    let bytes = sum.iter_mut().zip(from);
    if weight == 1 {
        bytes.for_each(|(into, byte)| *into ^= byte);
    } else {
        let mut products = [0; 256];
        for (byte, product) in (0..=255).zip(&mut products) {
            *product = multiply(byte, weight);
        }
        bytes.for_each(|(into, byte)| *into ^= products[usize::from(*byte)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplication the long way, bit by bit.
    fn product(mut a: u8, mut b: u8) -> u8 {
        let mut sum = 0;
        while b != 0 {
            if b & 1 == 1 {
                sum ^= a;
            }
            a = double(a);
            b >>= 1;
        }
        sum
    }

    #[test]
    fn products_and_inverses_of_all_elements() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(multiply(a, b), product(a, b), "{a} times {b}");
            }
            assert_eq!(product(a, inverse(a)), u8::from(a != 0), "inverse of {a}");
        }
    }

    #[test]
    fn powers_of_two_are_distinct_for_every_column_there_can_be() {
        let all: std::collections::BTreeSet<u8> = (0..255).map(power_of_two).collect();
        assert_eq!(all.len(), 255);
        assert_eq!(power_of_two(8), POLYNOMIAL);
    }
}
