//! Flash chips on an SPI bus.

use devices::event::DeviceEvent;
use devices::flash::{Fault, FlashChip, FlashPart, Geometry, SpiBus, VirtioSpi};
use devices::power::{OperationKind, Shape};
use devices::time::Nanos;
use emulator::array::flash_timings;
use emulator::rig::{Bytes, Timings};
use emulator::serve::Hardware;
use emulator::service::Visit;

use super::cuts::{self, Cuts, Order, order};
use super::file::DiskFile;
use super::{DeviceError, line, unknown};

const KINDS: [OperationKind; 2] = [OperationKind::Program, OperationKind::Erase];

/// The bus, its controller, and what holds its files.
#[derive(Debug)]
pub struct Flash {
    controller: VirtioSpi,
    bus: SpiBus,
    powered: bool,
    _files: Vec<DiskFile>,
    cuts: Cuts,
}

impl Flash {
    /// What the commands are.
    pub fn help() -> String {
        format!(
            "{}\n\
             flash fault dead CHIP    the chip answers nothing any more; chips are counted from 0\n\
             flash fault wrong-id CHIP\n                         \
             it says that it is another\n\
             flash fault stuck-bit CHIP ADDRESS BIT VALUE\n                         \
             a bit reads as VALUE, whatever is programmed\n\
             flash fault rot CHIP ADDRESS BIT\n                         \
             a bit flips, once\n\
             flash mend CHIP          takes back all but what rotted",
            cuts::HELP
        )
    }

    /// A bus with these chips, with power.
    ///
    /// # Errors
    /// A file has not the size of a chip.
    pub fn new(files: Vec<DiskFile>, seed: u64) -> Result<Flash, DeviceError> {
        let mut chips = Vec::new();
        for file in &files {
            let medium = file.medium()?;
            let geometry = Geometry::of_size(medium.len()).map_err(|error| {
                let bytes = Bytes(medium.len());
                DeviceError::File(format!("a chip cannot have {bytes}: {error}"))
            })?;
            let mut part = FlashPart::new(geometry);
            part.timings = flash_timings(&Timings::default());
            let chip = FlashChip::new(part, medium);
            chips.push(chip.map_err(|error| DeviceError::File(error.to_string()))?);
        }
        let mut bus = SpiBus::new(chips);
        bus.power_on();
        Ok(Flash {
            controller: VirtioSpi::new(),
            bus,
            powered: true,
            _files: files,
            cuts: Cuts::new(seed),
        })
    }

    fn lose_power(&mut self, now: Nanos, shape: Shape, news: &mut Vec<String>) {
        let loss = self.cuts.loss(now, shape);
        if let Err(error) = self.bus.power_lost(loss) {
            news.push(format!("file-failed {error}"));
        }
        self.powered = false;
    }

    fn obey(&mut self, now: Nanos, order: Order, news: &mut Vec<String>) -> String {
        match order {
            Order::On => {
                self.bus.power_on();
                self.powered = true;
                news.push("powered-on".to_owned());
            }
            Order::Off => {
                self.lose_power(now, Shape::Done, news);
                news.push("powered-off".to_owned());
            }
            Order::Cut(shape) => {
                self.lose_power(now, shape, news);
                news.push(cuts::told(None, shape));
            }
            Order::Arm { kind, nth, shape } => self.cuts.arm(kind, nth, shape),
            Order::Disarm => self.cuts.disarm(),
        }
        String::new()
    }

    fn chip(&mut self, word: &str) -> Result<&mut FlashChip, String> {
        let chips = self.bus.chips_mut();
        let most = chips.len().saturating_sub(1);
        let number = word.parse::<usize>().ok();
        let chip = number.and_then(|number| chips.get_mut(number));
        chip.ok_or_else(|| format!("there is no chip {word:?}; they are 0 to {most}"))
    }

    fn fault(&mut self, words: &[&str]) -> Result<(), String> {
        let (chip, fault) = match *words {
            ["dead", chip] => (chip, Fault::Dead),
            ["wrong-id", chip] => (chip, Fault::WrongIdentity),
            ["stuck-bit", chip, address, bit, value] => {
                let value = match value {
                    "0" => false,
                    "1" => true,
                    _ => return Err("VALUE is 0 or 1".to_owned()),
                };
                let (address, bit) = (number(address)?, self::bit(bit)?);
                (
                    chip,
                    Fault::StuckBit {
                        address,
                        bit,
                        value,
                    },
                )
            }
            ["rot", chip, address, bit] => {
                let (address, bit) = (number(address)?, self::bit(bit)?);
                (chip, Fault::BitRot { address, bit })
            }
            _ => {
                return Err(
                    "say `flash fault dead|wrong-id CHIP`, `flash fault rot CHIP ADDRESS BIT` or \
                     `flash fault stuck-bit CHIP ADDRESS BIT VALUE`"
                        .to_owned(),
                );
            }
        };
        let chip = self.chip(chip)?;
        chip.inject(fault).map_err(|error| error.to_string())
    }
}

/// A number, decimal or hexadecimal.
fn number(word: &str) -> Result<u64, String> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| format!("{word:?} is no address; write 4096 or 0x1000"))
}

fn bit(word: &str) -> Result<u8, String> {
    let bit = word.parse().ok().filter(|bit| *bit < 8);
    bit.ok_or_else(|| format!("{word:?} is no bit; they are 0 to 7"))
}

impl Hardware for Flash {
    fn with<V: Visit>(&mut self, _port: usize, visit: V) -> V::Answer {
        visit.visit(&mut self.controller, &mut &mut self.bus)
    }

    fn heard(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>, news: &mut Vec<String>) {
        for event in events.drain(..) {
            if let DeviceEvent::OperationBegan(operation) = &event
                && let Some(shape) = self.cuts.began(operation)
            {
                self.lose_power(now, shape, news);
                news.push(cuts::told(Some(operation.kind), shape));
            }
            news.extend(line(event));
        }
    }

    fn command(
        &mut self,
        now: Nanos,
        command: &str,
        news: &mut Vec<String>,
    ) -> Result<String, String> {
        if let Some(order) = order(command, &KINDS) {
            return order.map(|order| self.obey(now, order, news));
        }
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["status"] => Ok(format!(
                "flash of {} chips; power {}; cuts armed {}",
                self.bus.chips().len(),
                if self.powered { "on" } else { "off" },
                self.cuts.armed(),
            )),
            ["flash", "fault", fault @ ..] => {
                self.fault(fault)?;
                news.push(format!("flash-broke {}", fault.join(" ")));
                Ok(String::new())
            }
            ["flash", "mend", chip] => {
                self.chip(chip)?.clear_faults();
                news.push(format!("flash-mended chip={chip}"));
                Ok(String::new())
            }
            _ => unknown(command),
        }
    }

    fn put_away(&mut self, now: Nanos) {
        if self.powered {
            self.lose_power(now, Shape::Done, &mut Vec::new());
        }
    }
}
