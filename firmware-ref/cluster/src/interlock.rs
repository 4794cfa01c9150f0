//! What an operator may do to an array that serves. Stop a controller (VC62): never the last one, and
//! nobody while another one is still on its way up. Make another version preferred: never one that
//! would leave versions side by side which nobody declared.

use core::fmt;

use image::Version;

use crate::SLOTS_MAX;

/// What is known of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controller {
    /// A controller is there and has power.
    pub powered: bool,
    /// It is kept in reset.
    pub held: bool,
    /// It serves, or is ready to take over.
    pub operational: bool,
}

/// Every slot of the chassis; slots it does not have are as if empty.
pub type Controllers = [Controller; SLOTS_MAX];

/// Why a controller may not be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No other controller is operational.
    LastOne,
    /// The controller in this slot is on its way up.
    NotOperational(u8),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::LastOne => f.write_str("no other controller is operational"),
            Refusal::NotOperational(slot) => {
                let letter = char::from(b'A'.saturating_add(*slot));
                write!(f, "controller {letter} is not operational")
            }
        }
    }
}

/// Whether the controller in `slot` may be reset or disabled while the array goes on serving. In
/// a chassis with one controller there is nobody to wait for (VC78).
pub fn may_stop(controllers: &Controllers, slot: u8) -> Result<(), Refusal> {
    let others = || {
        (0_u8..)
            .zip(controllers)
            .filter(move |(other, controller)| *other != slot && controller.powered)
    };
    if others().any(|(_, controller)| controller.operational && !controller.held) {
        return Ok(());
    }
    match others().next() {
        None => Ok(()),
        Some((other, controller)) if !controller.held => Err(Refusal::NotOperational(other)),
        Some(_) => Err(Refusal::LastOne),
    }
}

/// Whether all may be reset at once (VC80). One that is re-flashing itself must not be disturbed; one
/// that will never come up has to be disabled first.
pub fn may_reset_all(controllers: &Controllers) -> Result<(), Refusal> {
    let on_its_way = (0_u8..)
        .zip(controllers)
        .find(|(_, controller)| controller.powered && !controller.held && !controller.operational);
    match on_its_way {
        Some((slot, _)) => Err(Refusal::NotOperational(slot)),
        None => Ok(()),
    }
}

/// A controller that would be left with a version that is neither preferred nor the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Where it is.
    pub slot: u8,
    /// What it runs.
    pub version: Version,
    /// What it should have been upgraded to.
    pub preferred: Version,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = char::from(b'A'.saturating_add(self.slot));
        let (version, preferred) = (self.version, self.preferred);
        write!(
            f,
            "controller {letter} runs {version}, not {preferred}; reset it first, or install \
             {version} again"
        )
    }
}

/// Whether `new` may become the preferred version where `preferred` is it. From then on the two may
/// run side by side, and nothing else (K4): so whatever is `running` must be one of them.
pub fn may_prefer(
    new: Version,
    preferred: Version,
    running: impl IntoIterator<Item = (u8, Version)>,
) -> Result<(), Unfinished> {
    let mut left = running
        .into_iter()
        .filter(|(_, version)| *version != new && *version != preferred);
    match left.next() {
        None => Ok(()),
        Some((slot, version)) => Err(Unfinished {
            slot,
            version,
            preferred,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Controller = Controller {
        powered: false,
        held: false,
        operational: false,
    };
    const UP: Controller = Controller {
        powered: true,
        held: false,
        operational: true,
    };
    const BOOTING: Controller = Controller {
        operational: false,
        ..UP
    };
    const HELD: Controller = Controller {
        held: true,
        ..BOOTING
    };

    #[test]
    fn vc62_a_controller_is_stopped_only_while_another_serves() {
        let check = |a, b, slot, expected| {
            let found = may_stop(&[a, b, EMPTY, EMPTY], slot);
            assert_eq!(found, expected, "{a:?} {b:?}");
        };
        check(UP, UP, 0, Ok(()));
        check(UP, BOOTING, 0, Err(Refusal::NotOperational(1)));
        check(UP, HELD, 0, Err(Refusal::LastOne));
        check(UP, BOOTING, 1, Ok(()));
        check(UP, HELD, 1, Ok(()));
        check(UP, EMPTY, 0, Ok(()));
    }

    #[test]
    fn all_are_reset_only_when_none_is_on_its_way_up() {
        let check = |a, b, expected| {
            assert_eq!(may_reset_all(&[a, b, EMPTY, EMPTY]), expected);
        };
        check(UP, UP, Ok(()));
        check(UP, BOOTING, Err(Refusal::NotOperational(1)));
        check(BOOTING, UP, Err(Refusal::NotOperational(0)));
        check(UP, HELD, Ok(()));
        check(UP, EMPTY, Ok(()));
    }

    #[test]
    fn a_third_version_waits_for_the_end_of_an_upgrade() {
        let version = |text: &str| text.parse().unwrap();
        let check = |new, preferred, running: [&str; 2], wanted: Option<u8>| {
            let running = (0..).zip(running.map(version));
            let found = may_prefer(version(new), version(preferred), running);
            assert_eq!(
                found.err().map(|left| left.slot),
                wanted,
                "{new} {preferred}"
            );
        };
        check("2.0", "1.0", ["1.0", "1.0"], None);
        check("1.1", "2.0", ["2.0", "1.0"], Some(1));
        check("1.1", "2.0", ["1.0", "1.0"], Some(0));
        // Back to where it came from, or once more forward.
        check("1.0", "2.0", ["2.0", "1.0"], None);
        check("2.0", "2.0", ["2.0", "1.0"], Some(1));
    }

    #[test]
    fn refusals_name_the_controller() {
        let text = Refusal::NotOperational(1).to_string();
        assert_eq!(text, "controller B is not operational");
        let left = Unfinished {
            slot: 1,
            version: "1.0".parse().unwrap(),
            preferred: "2.0".parse().unwrap(),
        };
        assert_eq!(
            left.to_string(),
            "controller B runs 1.0, not 2.0; reset it first, or install 1.0 again"
        );
    }
}
