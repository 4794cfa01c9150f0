//! The JEDEC command set as a table: what follows each opcode, and what it does.

/// Opcodes, by the names of the data sheets.
pub mod opcode {
    /// Write status register.
    pub const WRSR: u8 = 0x01;
    /// Page program.
    pub const PP: u8 = 0x02;
    /// Read data.
    pub const READ: u8 = 0x03;
    /// Write disable.
    pub const WRDI: u8 = 0x04;
    /// Read status register.
    pub const RDSR: u8 = 0x05;
    /// Write enable.
    pub const WREN: u8 = 0x06;
    /// Read data at full clock: 8 dummy bits after the address.
    pub const FAST_READ: u8 = 0x0b;
    /// [`FAST_READ`] with a 4-byte address.
    pub const FAST_READ_4B: u8 = 0x0c;
    /// [`PP`] with a 4-byte address.
    pub const PP_4B: u8 = 0x12;
    /// [`READ`] with a 4-byte address.
    pub const READ_4B: u8 = 0x13;
    /// Sector erase.
    pub const SE: u8 = 0x20;
    /// [`SE`] with a 4-byte address.
    pub const SE_4B: u8 = 0x21;
    /// Read serial flash discoverable parameters.
    pub const SFDP: u8 = 0x5a;
    /// Reset enable.
    pub const RSTEN: u8 = 0x66;
    /// Reset, when it directly follows [`RSTEN`].
    pub const RST: u8 = 0x99;
    /// Read identification.
    pub const RDID: u8 = 0x9f;
    /// Enter 4-byte address mode.
    pub const EN4B: u8 = 0xb7;
    /// Chip erase.
    pub const CE: u8 = 0xc7;
    /// Block erase.
    pub const BE: u8 = 0xd8;
    /// [`BE`] with a 4-byte address.
    pub const BE_4B: u8 = 0xdc;
    /// Leave 4-byte address mode.
    pub const EX4B: u8 = 0xe9;
}

/// What a command does once its opcode, address and dummy bytes are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    ReadData,
    ReadStatus,
    ReadIdentity,
    ReadParameters,
    WriteStatus,
    WriteEnable,
    WriteDisable,
    Program,
    EraseSector,
    EraseBlock,
    EraseChip,
    EnterFourByte,
    LeaveFourByte,
    ResetEnable,
    Reset,
}

/// How many address bytes follow the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    None,
    Three,
    /// Three, or four in 4-byte mode.
    ByMode,
    Four,
}

/// One line of the command table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) opcode: u8,
    pub(super) address: Address,
    pub(super) dummy_bytes: u8,
    pub(super) action: Action,
}

const fn plain(opcode: u8, action: Action) -> Command {
    Command {
        opcode,
        address: Address::None,
        dummy_bytes: 0,
        action,
    }
}

const fn at(opcode: u8, address: Address, dummy_bytes: u8, action: Action) -> Command {
    Command {
        opcode,
        address,
        dummy_bytes,
        action,
    }
}

/// The command set of board manual §6, and WRSR for the block-protect bits.
const COMMANDS: [Command; 21] = [
    at(opcode::READ, Address::ByMode, 0, Action::ReadData),
    at(opcode::FAST_READ, Address::ByMode, 1, Action::ReadData),
    at(opcode::READ_4B, Address::Four, 0, Action::ReadData),
    at(opcode::FAST_READ_4B, Address::Four, 1, Action::ReadData),
    plain(opcode::RDSR, Action::ReadStatus),
    plain(opcode::WREN, Action::WriteEnable),
    at(opcode::PP, Address::ByMode, 0, Action::Program),
    at(opcode::PP_4B, Address::Four, 0, Action::Program),
    at(opcode::SE, Address::ByMode, 0, Action::EraseSector),
    at(opcode::SE_4B, Address::Four, 0, Action::EraseSector),
    at(opcode::BE, Address::ByMode, 0, Action::EraseBlock),
    at(opcode::BE_4B, Address::Four, 0, Action::EraseBlock),
    plain(opcode::CE, Action::EraseChip),
    plain(opcode::RDID, Action::ReadIdentity),
    // JESD216 §4.4: always three address bytes and eight dummy bits, in every address mode.
    at(opcode::SFDP, Address::Three, 1, Action::ReadParameters),
    plain(opcode::WRDI, Action::WriteDisable),
    plain(opcode::WRSR, Action::WriteStatus),
    plain(opcode::EN4B, Action::EnterFourByte),
    plain(opcode::EX4B, Action::LeaveFourByte),
    plain(opcode::RSTEN, Action::ResetEnable),
    plain(opcode::RST, Action::Reset),
];

impl Command {
    /// The command behind `opcode`.
    pub(super) fn find(opcode: u8) -> Option<Command> {
        COMMANDS
            .iter()
            .copied()
            .find(|command| command.opcode == opcode)
    }

    /// Address bytes that follow the opcode.
    pub(super) fn address_bytes(&self, four_byte_mode: bool) -> u8 {
        match self.address {
            Address::None => 0,
            Address::Three => 3,
            Address::ByMode if four_byte_mode => 4,
            Address::ByMode => 3,
            Address::Four => 4,
        }
    }

    /// Whether a busy chip obeys: status can be polled, and reset is the way out.
    pub(super) fn works_while_busy(&self) -> bool {
        matches!(
            self.action,
            Action::ReadStatus | Action::ResetEnable | Action::Reset
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opcode_appears_once() {
        for (index, command) in COMMANDS.iter().enumerate() {
            let first = COMMANDS.iter().position(|c| c.opcode == command.opcode);
            assert_eq!(first, Some(index), "{:#04x}", command.opcode);
        }
    }
}
