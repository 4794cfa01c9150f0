use serde::{Deserialize, Serialize};

/// Either counter at or above it: the bus is heavily disturbed (ISO 11898-1:2015 §12.1.4.1).
pub const WARNING_LIMIT: u16 = 96;
/// Either counter at or above it makes a node error-passive (§12.1.4.2 i).
pub const PASSIVE_LIMIT: u16 = 128;
/// A transmit error count at or above it is bus-off (§12.1.4.2 k).
pub const BUS_OFF_LIMIT: u16 = 256;
/// What a receive error count above 127 becomes with the next frame received; the standard leaves
/// 119 to 127 (§12.1.4.2 h).
pub const RECOVERED_RECEIVE_ERRORS: u16 = 119;
/// Sequences of eleven recessive bits that end bus-off (§12.1.4.4).
pub const RECOVERY_SEQUENCES: u16 = 128;
/// Recessive bits in one of them; one also lets a node that was started take part (§12.1.4.4, §10.9).
pub const SEQUENCE_BITS: u32 = 11;
/// How long an error-passive transmitter holds back after the intermission (§10.4.6.4).
pub const SUSPEND_BITS: u32 = 8;

/// What the fault confinement entity lets a node do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Confinement {
    /// It takes part, and destroys frames in which it sees an error.
    #[default]
    ErrorActive,
    /// The same, with a counter at 96 or more; a word for watchers, not a state of the standard's own.
    ErrorWarning,
    /// It takes part, but its error flags are recessive.
    ErrorPassive,
    /// It has no influence on the bus.
    BusOff,
}

impl Confinement {
    /// The name of the event that tells of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Confinement::ErrorActive => "can-error-active",
            Confinement::ErrorWarning => "can-error-warning",
            Confinement::ErrorPassive => "can-error-passive",
            Confinement::BusOff => "can-bus-off",
        }
    }
}

/// Fault confinement of one node: its two counters (§12.1.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorState {
    transmit: u16,
    receive: u16,
}

impl ErrorState {
    /// TEC.
    pub fn transmit_errors(self) -> u16 {
        self.transmit
    }

    /// REC.
    pub fn receive_errors(self) -> u16 {
        self.receive
    }

    /// What they make of the node.
    pub fn confinement(self) -> Confinement {
        let higher = self.transmit.max(self.receive);
        if self.transmit >= BUS_OFF_LIMIT {
            Confinement::BusOff
        } else if higher >= PASSIVE_LIMIT {
            Confinement::ErrorPassive
        } else if higher >= WARNING_LIMIT {
            Confinement::ErrorWarning
        } else {
            Confinement::ErrorActive
        }
    }

    /// Whether its error flags are recessive.
    pub fn is_passive(self) -> bool {
        self.confinement() >= Confinement::ErrorPassive
    }

    /// Whether it is off the bus.
    pub fn is_bus_off(self) -> bool {
        self.confinement() == Confinement::BusOff
    }

    /// A frame was sent and acknowledged (§12.1.4.2 g).
    pub fn sent(&mut self) {
        self.transmit = self.transmit.saturating_sub(1);
    }

    /// A frame was received (§12.1.4.2 h).
    pub fn received(&mut self) {
        self.receive = if self.receive < PASSIVE_LIMIT {
            self.receive.saturating_sub(1)
        } else {
            RECOVERED_RECEIVE_ERRORS
        };
    }

    /// It sent an error flag as transmitter (§12.1.4.2 c).
    pub fn transmit_error(&mut self) {
        self.transmit = (self.transmit + 8).min(BUS_OFF_LIMIT);
    }

    /// Nobody acknowledged its frame, and nothing dominant was seen during its error flag: exception 1 of
    /// §12.1.4.2 c keeps an error-passive transmitter from going bus-off because it is alone.
    pub fn acknowledgement_error(&mut self) {
        if !self.is_passive() {
            self.transmit_error();
        }
    }

    /// It detected an error as receiver (§12.1.4.2 a).
    pub fn receive_error(&mut self) {
        self.add_receive(1);
    }

    /// It saw a dominant bit right after its own error flag: it was the first to see the error
    /// (§12.1.4.2 b); or eight more dominant bits after that (§12.1.4.2 f).
    pub fn dominant_after_flag(&mut self) {
        self.add_receive(8);
    }

    /// Its counters after bus-off was recovered from, or after a reset.
    pub fn clear(&mut self) {
        *self = ErrorState::default();
    }

    /// Over the passive limit the count need not rise: it says nothing more.
    fn add_receive(&mut self, errors: u16) {
        if self.receive < PASSIVE_LIMIT {
            self.receive += errors;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(times: usize, what: impl Fn(&mut ErrorState)) -> ErrorState {
        let mut state = ErrorState::default();
        (0..times).for_each(|_| what(&mut state));
        state
    }

    #[test]
    fn transmit_errors_lead_to_bus_off() {
        let at = |errors| after(errors, ErrorState::transmit_error);
        assert_eq!(at(11).confinement(), Confinement::ErrorActive);
        assert_eq!(at(12).transmit_errors(), 96);
        assert_eq!(at(12).confinement(), Confinement::ErrorWarning);
        assert_eq!(at(15).confinement(), Confinement::ErrorWarning);
        assert_eq!(at(16).confinement(), Confinement::ErrorPassive);
        assert_eq!(at(31).confinement(), Confinement::ErrorPassive);
        assert_eq!(at(32).confinement(), Confinement::BusOff);
        assert_eq!(at(99), at(32));
    }

    #[test]
    fn success_pays_errors_back() {
        let mut state = after(16, ErrorState::transmit_error);
        state.sent();
        assert_eq!(state.transmit_errors(), 127);
        assert!(!state.is_passive());
        let mut state = ErrorState::default();
        state.sent();
        assert_eq!(state, ErrorState::default());
    }

    #[test]
    fn receive_errors_lead_to_passive_only() {
        let mut state = after(127, ErrorState::receive_error);
        assert!(!state.is_passive());
        state.received();
        assert_eq!(state.receive_errors(), 126);
        let mut state = after(1000, ErrorState::receive_error);
        assert_eq!(state.receive_errors(), 128);
        assert_eq!(state.confinement(), Confinement::ErrorPassive);
        state.received();
        assert_eq!(state.receive_errors(), 119);
        assert!(!state.is_passive());
    }

    #[test]
    fn the_first_to_see_an_error_counts_more() {
        let state = after(16, ErrorState::dominant_after_flag);
        assert_eq!(state.receive_errors(), 128);
    }

    #[test]
    fn a_lone_transmitter_stops_at_passive() {
        let state = after(1000, ErrorState::acknowledgement_error);
        assert_eq!(state.transmit_errors(), 128);
        assert_eq!(state.confinement(), Confinement::ErrorPassive);
    }
}
