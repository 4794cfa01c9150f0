//! How requests are collected and answered, as an operator wants it. Kept in the array's catalogue, so that
//! it is the same whichever controller is the master.
//!
//! Sixteen bytes, little-endian: offer u8 (0 combined, 1 requested, 2 first, 3 direct), timing u8 (0 from the
//! first request, 1 from the latest, 2 shrinking, 3 halving), zero (2), period, cap and shrinkage in milliseconds
//! (u32 each). All zero: [`Settings::default`].

use distribution::{Offer, Timing, Wait};
use system_area::NODE_SETTINGS_SIZE;

const MS: u64 = 1_000_000;

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) offer: Offer,
    pub(crate) wait: Wait,
}

/// The words for [`Offer`], in the order of their numbers.
pub(crate) const OFFERS: [(&str, Offer); 4] = [
    ("combined", Offer::Combined),
    ("requested", Offer::Requested),
    ("first", Offer::First),
    ("direct", Offer::Direct),
];

impl Default for Settings {
    /// Long enough for nodes that got power together, however long each took to boot.
    fn default() -> Settings {
        Settings {
            offer: Offer::Combined,
            wait: Wait::fixed(500 * MS),
        }
    }
}

impl Settings {
    /// As kept; the default where they are none.
    pub(crate) fn decode(bytes: &[u8; NODE_SETTINGS_SIZE]) -> Settings {
        Settings::try_decode(bytes).unwrap_or_default()
    }

    fn try_decode(bytes: &[u8; NODE_SETTINGS_SIZE]) -> Option<Settings> {
        let ns = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk()?;
            Some(u64::from(u32::from_le_bytes(*bytes)) * MS)
        };
        let (period_ns, cap_ns, by_ns) = (ns(4)?, ns(8)?, ns(12)?);
        let (_, offer) = *OFFERS.get(usize::from(bytes[0]))?;
        let timing = match bytes[1] {
            0 => Timing::FromFirst,
            1 => Timing::FromLatest,
            2 => Timing::Shrinking { by_ns },
            3 => Timing::Halving,
            _ => return None,
        };
        let wait = Wait {
            period_ns,
            timing,
            cap_ns,
        };
        (period_ns > 0 && cap_ns > 0).then_some(Settings { offer, wait })
    }

    /// To be kept.
    pub(crate) fn encode(&self) -> [u8; NODE_SETTINGS_SIZE] {
        let mut bytes = [0; NODE_SETTINGS_SIZE];
        let offer = OFFERS.iter().position(|(_, offer)| *offer == self.offer);
        let (timing, by_ns) = match self.wait.timing {
            Timing::FromFirst => (0, 0),
            Timing::FromLatest => (1, 0),
            Timing::Shrinking { by_ns } => (2, by_ns),
            Timing::Halving => (3, 0),
        };
        bytes[0] = offer.and_then(|at| u8::try_from(at).ok()).unwrap_or(0);
        bytes[1] = timing;
        let mut put = |at: usize, ns: u64| {
            let ms = u32::try_from(ns / MS).unwrap_or(u32::MAX);
            if let Some(place) = bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&ms.to_le_bytes());
            }
        };
        put(4, self.wait.period_ns);
        put(8, self.wait.cap_ns);
        put(12, by_ns);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back_and_nonsense_is_the_default() {
        for (offer, timing) in [
            (Offer::Combined, Timing::FromFirst),
            (Offer::Requested, Timing::FromLatest),
            (Offer::First, Timing::Shrinking { by_ns: 30 * MS }),
            (Offer::Direct, Timing::Halving),
        ] {
            let wait = Wait {
                period_ns: 200 * MS,
                timing,
                cap_ns: 3000 * MS,
            };
            let settings = Settings { offer, wait };
            assert_eq!(Settings::decode(&settings.encode()), settings);
        }
        let mut bytes = Settings::default().encode();
        assert_eq!(Settings::decode(&[0; 16]), Settings::default());
        bytes[1] = 9;
        assert_eq!(Settings::decode(&bytes), Settings::default());
    }
}
