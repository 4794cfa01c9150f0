use serde::{Deserialize, Serialize};

use super::chip::{ChipIo, FlashChip};
use crate::event::DeviceEvent;
use crate::medium::MediumError;
use crate::power::{PowerLoss, mix};
use crate::time::Nanos;

/// What a bus can do; offered in the configuration space of its controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusLimits {
    /// Highest clock rate.
    pub frequency_hz: u32,
    /// Longest delay between two words.
    pub word_delay_ns: u32,
    /// Longest delay after chip select is asserted.
    pub setup_ns: u32,
    /// Longest delay before chip select is deasserted.
    pub hold_ns: u32,
    /// Longest delay after chip select is deasserted.
    pub inactive_ns: u32,
}

impl Default for BusLimits {
    /// Board manual §6. The inactive delay reaches beyond a chip erase.
    fn default() -> Self {
        BusLimits {
            frequency_hz: 50_000_000,
            word_delay_ns: 1_000_000,
            setup_ns: 1_000_000,
            hold_ns: 1_000_000,
            inactive_ns: 4_000_000_000,
        }
    }
}

/// One transfer: words of 8 bits between chip select events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Chip select.
    pub chip: u8,
    /// Clock rate; not zero.
    pub frequency_hz: u32,
    /// Whether chip select is deasserted at the end. If not, the next transfer to the same chip
    /// goes on with the same command.
    pub deselect: bool,
    /// Delay between two words.
    pub word_delay_ns: u32,
    /// Delay after chip select is asserted, where it was not asserted already.
    pub setup_ns: u32,
    /// Delay before chip select is deasserted.
    pub hold_ns: u32,
    /// Delay after chip select is deasserted.
    pub inactive_ns: u32,
}

impl Transfer {
    /// A transfer to `chip` at full speed without delays, chip select deasserted at its end.
    pub fn to_chip(chip: u8) -> Transfer {
        Transfer {
            chip,
            frequency_hz: BusLimits::default().frequency_hz,
            deselect: true,
            word_delay_ns: 0,
            setup_ns: 0,
            hold_ns: 0,
            inactive_ns: 0,
        }
    }
}

/// When each word of a transfer is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordClock {
    first: Nanos,
    frequency_hz: u32,
    word_delay_ns: u32,
}

impl WordClock {
    /// When word `word` begins.
    pub fn start_of(&self, word: usize) -> Nanos {
        self.first + self.length(word as u64) + self.delays(word as u64)
    }

    /// When the last of `words` words is over.
    fn end_of(&self, words: usize) -> Nanos {
        let words = words as u64;
        self.first + self.length(words) + self.delays(words.saturating_sub(1))
    }

    fn length(&self, words: u64) -> Nanos {
        let frequency = u64::from(self.frequency_hz).max(1);
        Nanos(words.saturating_mul(8_000_000_000).div_ceil(frequency))
    }

    fn delays(&self, gaps: u64) -> Nanos {
        Nanos(gaps.saturating_mul(u64::from(self.word_delay_ns)))
    }
}

/// The instants of a transfer under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    clock: WordClock,
    /// When the last word is in and chip select rises (or stays): the chip then has all of the
    /// transfer, and an operation it asks for begins.
    pub executes: Nanos,
    /// When the bus is free for the next transfer.
    pub ends: Nanos,
}

/// NOR chips on one SPI bus, one chip select each.
///
/// A transfer has two moments: [`SpiBus::begin`] at its start and [`SpiBus::execute`] when its
/// last word is over. A power cut in between leaves the chip without the command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpiBus {
    chips: Vec<FlashChip>,
    limits: BusLimits,
    /// The chip whose chip select is asserted.
    selected: Option<u8>,
}

impl SpiBus {
    /// A bus with `chips` at chip selects 0, 1, …; chips beyond the 255th are out of reach.
    pub fn new(chips: Vec<FlashChip>) -> SpiBus {
        SpiBus {
            chips,
            limits: BusLimits::default(),
            selected: None,
        }
    }

    /// The same bus with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: BusLimits) -> SpiBus {
        self.limits = limits;
        self
    }

    /// What the bus can do.
    pub fn limits(&self) -> &BusLimits {
        &self.limits
    }

    /// The chips, by chip select.
    pub fn chips(&self) -> &[FlashChip] {
        &self.chips
    }

    /// The chips, by chip select, to inspect, preload or break.
    pub fn chips_mut(&mut self) -> &mut [FlashChip] {
        &mut self.chips
    }

    /// Power comes to all chips.
    pub fn power_on(&mut self) {
        self.selected = None;
        self.chips.iter_mut().for_each(FlashChip::power_on);
    }

    /// Power goes from all chips at once. Each draws its own details from the seed.
    ///
    /// # Errors
    /// The host failed to read or write the file behind a medium.
    pub fn power_lost(&mut self, loss: PowerLoss) -> Result<(), MediumError> {
        self.selected = None;
        for (index, chip) in (0u64..).zip(&mut self.chips) {
            chip.power_lost(PowerLoss {
                seed: mix(loss.seed, index),
                ..loss
            })?;
        }
        Ok(())
    }

    /// Applies every operation that is over at `now`.
    ///
    /// # Errors
    /// The host failed to read or write the file behind a medium.
    pub fn settle(&mut self, now: Nanos) -> Result<(), MediumError> {
        self.chips.iter_mut().try_for_each(|chip| chip.settle(now))
    }

    /// The controller was reset: chip select goes without a command being executed; operations in
    /// progress go on in the chips.
    pub fn abandon(&mut self) {
        self.selected = None;
        self.chips.iter_mut().for_each(FlashChip::abandon);
    }

    /// A transfer of `words` words starts at `now`. Chip select moves here; nothing is clocked yet.
    ///
    /// # Errors
    /// The host failed to read or write the file behind a medium.
    pub fn begin(
        &mut self,
        now: Nanos,
        transfer: &Transfer,
        words: usize,
        events: &mut Vec<DeviceEvent>,
    ) -> Result<Schedule, MediumError> {
        let asserted = self.selected == Some(transfer.chip);
        let result = if asserted {
            Ok(())
        } else {
            // Only one chip select is asserted at a time: another chip's rises first.
            let released = self.release(now, events);
            self.selected = Some(transfer.chip);
            if let Some(chip) = self.chips.get_mut(usize::from(transfer.chip)) {
                chip.select();
            }
            released
        };
        let setup = if asserted { 0 } else { transfer.setup_ns };
        let clock = WordClock {
            first: now + Nanos(u64::from(setup)),
            frequency_hz: transfer.frequency_hz,
            word_delay_ns: transfer.word_delay_ns,
        };
        let (hold, inactive) = if transfer.deselect {
            (transfer.hold_ns, transfer.inactive_ns)
        } else {
            (0, 0)
        };
        let executes = clock.end_of(words) + Nanos(u64::from(hold));
        result.map(|()| Schedule {
            clock,
            executes,
            ends: executes + Nanos(u64::from(inactive)),
        })
    }

    /// The last word is over: the chip has seen all of `mosi`, and `miso` is what it said.
    ///
    /// # Errors
    /// The host failed to read or write the file behind a medium.
    pub fn execute(
        &mut self,
        schedule: &Schedule,
        transfer: &Transfer,
        mosi: &[u8],
        miso: &mut [u8],
        events: &mut Vec<DeviceEvent>,
    ) -> Result<(), MediumError> {
        miso.fill(0xff);
        if let Some(chip) = self.chips.get_mut(usize::from(transfer.chip)) {
            let mut io = ChipIo {
                unit: u32::from(transfer.chip),
                events,
            };
            chip.clock(&mut io, &schedule.clock, mosi, miso)?;
        }
        if transfer.deselect {
            self.release(schedule.executes, events)?;
        }
        Ok(())
    }

    /// A whole transfer at once, starting at `now`; returns when the bus is free again.
    ///
    /// # Errors
    /// The host failed to read or write the file behind a medium.
    pub fn transfer(
        &mut self,
        now: Nanos,
        transfer: &Transfer,
        mosi: &[u8],
        miso: &mut [u8],
        events: &mut Vec<DeviceEvent>,
    ) -> Result<Nanos, MediumError> {
        let words = mosi.len().max(miso.len());
        let schedule = self.begin(now, transfer, words, events)?;
        self.execute(&schedule, transfer, mosi, miso, events)?;
        Ok(schedule.ends)
    }

    /// Chip select rises on whichever chip has it.
    fn release(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) -> Result<(), MediumError> {
        let Some(selected) = self.selected.take() else {
            return Ok(());
        };
        match self.chips.get_mut(usize::from(selected)) {
            Some(chip) => chip.deselect(
                &mut ChipIo {
                    unit: u32::from(selected),
                    events,
                },
                now,
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::commands::opcode;
    use crate::flash::part::{FlashPart, Geometry};

    fn bus() -> SpiBus {
        let part = FlashPart::new(Geometry::of_size(1 << 20).unwrap());
        let mut bus = SpiBus::new(vec![FlashChip::blank(part.clone()), FlashChip::blank(part)]);
        bus.power_on();
        bus
    }

    #[test]
    fn transfer_time_is_bits_and_delays() {
        let all = Transfer {
            frequency_hz: 8_000_000,
            word_delay_ns: 10,
            setup_ns: 100,
            hold_ns: 200,
            inactive_ns: 400,
            ..Transfer::to_chip(0)
        };
        let check = |transfer: Transfer, words: usize, executes: u64, ends: u64| {
            let mut bus = bus();
            let start = Nanos(1_000_000);
            let schedule = bus.begin(start, &transfer, words, &mut Vec::new()).unwrap();
            assert_eq!(schedule.executes - start, Nanos(executes), "{transfer:?}");
            assert_eq!(schedule.ends - start, Nanos(ends), "{transfer:?}");
        };
        check(Transfer::to_chip(0), 0, 0, 0);
        check(Transfer::to_chip(0), 1, 160, 160);
        check(Transfer::to_chip(0), 256, 256 * 160, 256 * 160);
        check(all, 3, 100 + 3_000 + 20 + 200, 100 + 3_000 + 20 + 200 + 400);
        // Chip select stays asserted: neither hold nor inactive delay happens.
        let kept = Transfer {
            deselect: false,
            ..all
        };
        check(kept, 3, 100 + 3_000 + 20, 100 + 3_000 + 20);
    }

    #[test]
    fn a_kept_chip_select_continues_the_command() {
        let mut bus = bus();
        let mut events = Vec::new();
        bus.chips_mut()[1].preload(0x100, b"abcdefgh").unwrap();
        let keep = Transfer {
            deselect: false,
            setup_ns: 50,
            ..Transfer::to_chip(1)
        };
        let command = [opcode::READ, 0, 1, 0];
        let mut now = bus
            .transfer(Nanos(0), &keep, &command, &mut [], &mut events)
            .unwrap();
        assert_eq!(now, Nanos(50 + 4 * 160));
        let (mut first, mut second) = ([0; 3], [0; 5]);
        now = bus
            .transfer(now, &keep, &[], &mut first, &mut events)
            .unwrap();
        assert_eq!(now, Nanos(50 + 7 * 160), "chip select is set up once");
        let end = Transfer::to_chip(1);
        bus.transfer(now, &end, &[], &mut second, &mut events)
            .unwrap();
        assert_eq!((&first, &second), (b"abc", b"defgh"));
        bus.transfer(now, &end, &[], &mut second, &mut events)
            .unwrap();
        assert_eq!(second, [0xff; 5], "a new command began");
    }

    #[test]
    fn selecting_another_chip_releases_the_first() {
        let mut bus = bus();
        let mut events = Vec::new();
        let keep = Transfer {
            deselect: false,
            ..Transfer::to_chip(0)
        };
        let wren = [opcode::WREN];
        let now = bus
            .transfer(Nanos(0), &Transfer::to_chip(0), &wren, &mut [], &mut events)
            .unwrap();
        let erase = [opcode::SE, 0, 0x10, 0];
        let now = bus
            .transfer(now, &keep, &erase, &mut [], &mut events)
            .unwrap();
        assert_eq!(events, [], "chip select has not risen yet");
        let other = Transfer::to_chip(1);
        bus.transfer(now, &other, &wren, &mut [], &mut events)
            .unwrap();
        let [DeviceEvent::OperationBegan(operation)] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((operation.unit, operation.begins), (0, now));
        assert_eq!((operation.address, operation.length), (0x1000, 0x1000));
    }

    #[test]
    fn abandoned_commands_are_not_executed() {
        let mut bus = bus();
        let mut events = Vec::new();
        let keep = Transfer {
            deselect: false,
            ..Transfer::to_chip(0)
        };
        bus.transfer(Nanos(0), &keep, &[opcode::WREN], &mut [], &mut events)
            .unwrap();
        bus.abandon();
        let mut miso = [0; 2];
        bus.transfer(
            Nanos(9),
            &Transfer::to_chip(0),
            &[opcode::RDSR],
            &mut miso,
            &mut events,
        )
        .unwrap();
        assert_eq!(miso, [0xff, 0], "WEL is not set");
    }

    #[test]
    fn chips_that_lose_power_together_tear_differently() {
        let mut bus = bus();
        let mut events = Vec::new();
        for chip in 0..2 {
            let to = Transfer::to_chip(chip);
            let page = [&[opcode::PP, 0, 0, 0][..], &[0; 256]].concat();
            for command in [&[opcode::WREN][..], &page] {
                bus.transfer(Nanos(0), &to, command, &mut [], &mut events)
                    .unwrap();
            }
        }
        let loss = PowerLoss {
            now: Nanos(50_000),
            shape: crate::power::Shape::Torn,
            seed: 9,
        };
        bus.power_lost(loss).unwrap();
        assert_ne!(bus.chips()[0].medium(), bus.chips()[1].medium());
    }
}
