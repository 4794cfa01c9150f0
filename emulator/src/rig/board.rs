use serde::{Deserialize, Serialize};

use super::units::Bytes;

/// The type of a controller board: what is soldered on, and the straps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoardType {
    /// What the CPU sits in.
    pub machine: Machine,
    /// What a machine other than the AB-1 boots.
    pub boot: Boot,
    /// Devices of the bench that a machine other than the AB-1 has, by the names of board manual §3.
    pub devices: Vec<String>,
    /// Size of the RAM.
    pub ram_mib: u32,
    /// The boot ROM: a build of the reference firmware, or the path of a 64 KiB image.
    pub rom: String,
    /// Straps that are set (board manual §5.2).
    pub straps: Vec<Strap>,
    /// ed25519 public key in the key fuse: 64 hexadecimal digits, or empty where none is fitted.
    pub signing_key: String,
    /// The flash chips and what lies where in them.
    pub flash: Flash,
}

impl Default for BoardType {
    fn default() -> Self {
        BoardType {
            machine: Machine::default(),
            boot: Boot::default(),
            devices: ["shelf", "media"].map(str::to_owned).to_vec(),
            ram_mib: 16,
            rom: "1.0".to_owned(),
            straps: Vec::new(),
            signing_key: String::new(),
            flash: Flash::default(),
        }
    }
}

/// What the CPU of a board sits in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Machine {
    /// The board of the board manual.
    #[default]
    Ab1,
    /// QEMU's `q35`: a PC with PCI Express.
    Q35,
    /// QEMU's `pc`: a PC with PCI.
    Pc,
    /// QEMU's `microvm`: virtio-mmio and ACPI.
    Microvm,
}

impl Machine {
    /// Its name in rig files and in QEMU's.
    pub fn as_str(self) -> &'static str {
        match self {
            Machine::Ab1 => "ab1",
            Machine::Q35 => "q35",
            Machine::Pc => "pc",
            Machine::Microvm => "microvm",
        }
    }

    /// Whether its firmware knows no board control, so that nothing but real time says when it goes on.
    pub fn runs_freely(self) -> bool {
        self != Machine::Ab1
    }
}

/// What a machine other than the AB-1 boots. Paths are from the rig file; one that begins with `setup:` is
/// from the folder that `scripts/setup` fills.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Boot {
    /// What is in place of QEMU's own firmware; nothing: that.
    pub firmware: String,
    /// A kernel to start without a boot loader.
    pub kernel: String,
    /// The kernel's first root.
    pub initramfs: String,
    /// The kernel's command line.
    pub command_line: String,
    /// A CPU model of QEMU's, with flags; nothing: the machine's usual one.
    pub cpu: String,
}

/// A strap of the board (board manual §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strap {
    /// Compare and re-flash L2 and L3; clear: L3 only.
    FollowL2,
    /// The more recent version overwrites the older everywhere.
    NewestWins,
    /// Run and flash only signed images.
    RequireSignature,
    /// Prior art: load the application from the array at every boot.
    BaselineDownload,
    /// Prior art: never compare with the array.
    BaselineNoCompare,
    /// The preferred version lives on the service media.
    SourceMedia,
    /// The preferred version lives in the partner controller.
    SourcePartner,
    /// Hosts speak iSCSI, not SCSI in Ethernet frames.
    HostIscsi,
}

/// What carries commands between hosts and controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostTransport {
    /// SCSI in Ethernet frames.
    EthernetScsi,
    /// iSCSI.
    Iscsi,
}

impl Strap {
    /// Every strap with its word, in bit order.
    pub const ALL: [(Strap, &'static str); 8] = [
        (Strap::FollowL2, "follow-l2"),
        (Strap::NewestWins, "newest-wins"),
        (Strap::RequireSignature, "require-signature"),
        (Strap::BaselineDownload, "baseline-download"),
        (Strap::BaselineNoCompare, "baseline-no-compare"),
        (Strap::SourceMedia, "source-media"),
        (Strap::SourcePartner, "source-partner"),
        (Strap::HostIscsi, "host-iscsi"),
    ];

    /// What it contributes to the straps word (board manual §5.2).
    pub fn bits(self) -> u32 {
        match self {
            Strap::FollowL2 => 1,
            Strap::NewestWins => 1 << 1,
            Strap::RequireSignature => 1 << 2,
            Strap::BaselineDownload => 1 << 3,
            Strap::BaselineNoCompare => 1 << 4,
            Strap::SourceMedia => 1 << 8,
            Strap::SourcePartner => 2 << 8,
            Strap::HostIscsi => 1 << 10,
        }
    }
}

impl BoardType {
    /// The straps word of the board-control configuration space.
    pub fn strap_bits(&self) -> u32 {
        self.straps
            .iter()
            .fold(0, |bits, strap| bits | strap.bits())
    }

    /// What the straps say that hosts speak.
    pub fn host_transport(&self) -> HostTransport {
        if self.straps.contains(&Strap::HostIscsi) {
            HostTransport::Iscsi
        } else {
            HostTransport::EthernetScsi
        }
    }

    /// The key in the key fuse; all zero where none is fitted or the text is no key.
    pub fn signing_key_bytes(&self) -> [u8; 32] {
        parse_key(&self.signing_key).unwrap_or_default()
    }
}

/// Reads 64 hexadecimal digits.
pub(super) fn parse_key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(key)
}

/// The flash chips of a board and what lies where in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flash {
    /// How many chips: one or two (board manual §6 has two chip selects).
    pub chips: u32,
    /// Size of each chip.
    pub chip_size: Bytes,
    /// A ready-made bank table.
    pub layout: Layout,
    /// A bank table of your own; when it is given `layout` says nothing.
    pub banks: Vec<Bank>,
}

impl Default for Flash {
    fn default() -> Self {
        Flash {
            chips: 2,
            chip_size: Bytes::mib(1),
            layout: Layout::default(),
            banks: Vec::new(),
        }
    }
}

/// Ready-made bank tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Bank A of both levels on chip 0, bank B of both on chip 1.
    #[default]
    Split,
    /// Both banks of L2 on chip 0, both of L3 on chip 1.
    SameChip,
    /// All banks on chip 0, for a board with one chip.
    OneChip,
}

/// The two banks of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BankLetter {
    /// The first.
    A,
    /// The second.
    B,
}

/// One entry of the bank table (board manual §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bank {
    /// 2 or 3.
    pub level: u8,
    /// A or B.
    pub bank: BankLetter,
    /// The chip it is in.
    pub chip: u32,
    /// Where in the chip it begins.
    pub offset: Bytes,
    /// How long it is.
    pub size: Bytes,
}

impl Bank {
    /// `L2A`, `L3B` …
    pub fn name(&self) -> String {
        format!("L{}{:?}", self.level, self.bank)
    }
}

impl Flash {
    /// The bank table as board control shows it.
    pub fn bank_table(&self) -> Vec<Bank> {
        if !self.banks.is_empty() {
            return self.banks.clone();
        }
        let bank = |level, bank, chip, offset, size| Bank {
            level,
            bank,
            chip,
            offset: Bytes(offset),
            size: Bytes(size),
        };
        use BankLetter::{A, B};
        match self.layout {
            Layout::Split => vec![
                bank(2, A, 0, 0, 0x2_0000),
                bank(2, B, 1, 0, 0x2_0000),
                bank(3, A, 0, 0x2_0000, 0x8_0000),
                bank(3, B, 1, 0x2_0000, 0x8_0000),
            ],
            Layout::SameChip => vec![
                bank(2, A, 0, 0, 0x2_0000),
                bank(2, B, 0, 0x2_0000, 0x2_0000),
                bank(3, A, 1, 0, 0x8_0000),
                bank(3, B, 1, 0x8_0000, 0x8_0000),
            ],
            Layout::OneChip => vec![
                bank(2, A, 0, 0, 0x2_0000),
                bank(2, B, 0, 0x2_0000, 0x2_0000),
                bank(3, A, 0, 0x4_0000, 0x6_0000),
                bank(3, B, 0, 0xa_0000, 0x6_0000),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn straps_make_the_word_of_the_manual() {
        let board = BoardType {
            straps: vec![Strap::FollowL2, Strap::SourcePartner, Strap::HostIscsi],
            ..BoardType::default()
        };
        assert_eq!(board.strap_bits(), 0x601);
        for (strap, word) in Strap::ALL {
            let folded = format!("{strap:?}").to_lowercase();
            assert_eq!(folded, word.replace('-', ""));
        }
    }

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        let key = "0f".repeat(32);
        assert_eq!(parse_key(&key), Some([0x0f; 32]));
        assert_eq!(parse_key(&key[1..]), None);
        assert_eq!(parse_key(&"ä".repeat(32)), None);
    }
}
