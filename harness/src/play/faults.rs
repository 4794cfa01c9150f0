//! What a scenario breaks, mends, plugs and unplugs.

use devices::flash::Fault;
use devices::medium::Medium;
use devices::power::mix;
use emulator::array::{ArrayError, Source};
use emulator::board::{Broken, DEVICE_NAMES};
use emulator::rig::Slot;

use super::{PlayError, Player, index, usize_of};
use crate::provision;
use crate::scenario::{BoardFault, DiskAction, FlashFault, LinkName, Socket};

impl Player<'_> {
    /// Breaks a member disk, replaces it, or has all of them scrubbed.
    pub(super) fn disk(&mut self, action: DiskAction) {
        let size = self.scenario.rig.shelf.member_size.0;
        let now = self.stage.array.now();
        self.stage.array.with_shelf(|shelf, events| match action {
            DiskAction::Fail(member) => shelf.fail_member(usize_of(member), events),
            DiskAction::Replace(member) => {
                shelf.replace_member(usize_of(member), Medium::memory(size, 0), events);
            }
            DiskAction::Scrub => shelf.start_scrub(now, events),
        });
    }

    /// Breaks a flash chip, or bits of it.
    pub(super) fn flash_fault(
        &mut self,
        board: Slot,
        chip: u32,
        fault: &FlashFault,
    ) -> Result<(), PlayError> {
        let scenario = self.scenario;
        let Some(controller) = self
            .stage
            .array
            .board_mut(Source::Board(index(board)))?
            .controller_mut()
        else {
            return Ok(());
        };
        let mut inject = |chip: u32, fault: Fault| -> Result<(), PlayError> {
            if let Some(chip) = controller.flash.chips_mut().get_mut(usize_of(chip)) {
                chip.inject(fault).map_err(provision::BuildError::from)?;
            }
            Ok(())
        };
        let text = match fault {
            FlashFault::Dead => {
                inject(chip, Fault::Dead)?;
                format!("flash-broke chip={chip} fault=dead")
            }
            FlashFault::WrongIdentity => {
                inject(chip, Fault::WrongIdentity)?;
                format!("flash-broke chip={chip} fault=wrong-id")
            }
            FlashFault::StuckBit {
                address,
                bit,
                value,
            } => {
                let bit = u8::try_from(*bit).unwrap_or(0);
                inject(
                    chip,
                    Fault::StuckBit {
                        address: *address,
                        bit,
                        value: *value,
                    },
                )?;
                format!("flash-broke chip={chip} fault=stuck-bit address={address:#x}")
            }
            FlashFault::Rot { level, bank, bits } => {
                let table = scenario.rig.board.flash.bank_table();
                let found = table
                    .iter()
                    .find(|entry| entry.level == *level && entry.bank == *bank);
                if let Some(entry) = found {
                    for nth in 0..*bits {
                        // Within the first 16 KiB behind the header, where every image has bytes.
                        let chance = mix(scenario.seed, u64::from(nth));
                        let address = entry.offset.0 + 256 + chance % (16 << 10);
                        let bit = u8::try_from((chance >> 32) % 8).unwrap_or(0);
                        inject(entry.chip, Fault::BitRot { address, bit })?;
                    }
                }
                format!("flash-broke bank=L{level}{bank:?} fault=rot bits={bits}")
            }
        };
        self.stage.note(&board.to_string(), text);
        Ok(())
    }

    /// Breaks what is on a board beside its flash, or mends all of it.
    pub(super) fn board_fault(
        &mut self,
        board: Socket,
        fault: BoardFault,
    ) -> Result<(), PlayError> {
        let place = Source::of(board.unit());
        let controller = self.stage.array.board_mut(place)?.controller_mut();
        let problem = "there is no board in it to break";
        let controller = controller.ok_or(ArrayError::Place { place, problem })?;
        let text = match fault {
            BoardFault::DeviceMissing(slot) => {
                controller.broken.missing.insert(slot);
                let device = DEVICE_NAMES.get(slot).unwrap_or(&"?");
                format!("board-broke fault=device-missing device={device}")
            }
            BoardFault::RomByte(address) => {
                controller.broken.rom_byte = Some(address);
                format!("board-broke fault=rom-byte address={address:#x}")
            }
            BoardFault::Mended => {
                controller.broken = Broken::default();
                "board-mended".to_owned()
            }
        };
        let name = board.name(&self.scenario.rig);
        self.stage.note(&name, text);
        Ok(())
    }

    /// Plugs the cables of boards, or unplugs them; or a cable of the CAN bus.
    pub(super) fn link(&mut self, link: LinkName, boards: &[Slot], up: bool) {
        let event = if up { "link-up" } else { "link-down" };
        if let LinkName::Can(cable) = link {
            let bus = &mut self.stage.array;
            bus.with_can(|can, now| can.set_cable(now, cable, up));
            let cable = self.scenario.rig.can.cables.get(cable);
            let name = cable.map_or("", |cable| cable.name.as_str());
            self.stage.note("can", format!("{event} link={name}"));
        }
        for slot in boards {
            let shared = self.stage.array.shared_mut();
            let (segment, name) = match link {
                LinkName::Backplane => (&mut shared.backplane, "backplane"),
                LinkName::Host => (&mut shared.hosts, "host"),
                LinkName::Can(_) => continue,
            };
            segment.set_cable(index(*slot), up);
            self.stage
                .note(&slot.to_string(), format!("{event} link={name}"));
        }
        self.stage.array.faces_changed();
    }
}
