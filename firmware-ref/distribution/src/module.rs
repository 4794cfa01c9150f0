//! Who is on the bus: kinds of modules (CD10), identities, and versions as they are told there.

use core::fmt;

use image::Version;
use words::{Line, Words};

use crate::MASTER_SET;

/// What a node is for: its image does that (CD10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Module {
    /// Takes commands from hosts.
    Communication = 1,
    /// Directs an accessor.
    Work = 2,
    /// Moves an accessor.
    Xy = 3,
    /// Shows and takes what an operator wants.
    Panel = 4,
    /// Runs a drive.
    Drive = 5,
    /// A master itself, whose image is the patent's 130 (CD31, CD33).
    Master = 6,
}

impl Module {
    /// Every kind, in the order of its number.
    pub const ALL: [Module; 6] = [
        Module::Communication,
        Module::Work,
        Module::Xy,
        Module::Panel,
        Module::Drive,
        Module::Master,
    ];

    /// The word used in traces and files: `type=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Module::Communication => "communication",
            Module::Work => "work-processor",
            Module::Xy => "xy",
            Module::Panel => "operator-panel",
            Module::Drive => "drive",
            Module::Master => "master",
        }
    }

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Module> {
        Module::ALL.into_iter().find(|it| *it as u8 == number)
    }
}

/// What a broadcast or a part of it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Images of several modules together (CD28).
    Combined,
    /// The image of one kind of module (CD29).
    Only(Module),
    /// One image for all modules, which find out by themselves what they are (CD35).
    All,
}

impl Content {
    const COMBINED: u8 = 0;
    const ALL: u8 = 7;

    /// Its number in messages and containers.
    pub fn number(self) -> u8 {
        match self {
            Content::Combined => Content::COMBINED,
            Content::Only(module) => module as u8,
            Content::All => Content::ALL,
        }
    }

    /// The content with this number.
    pub fn from_number(number: u8) -> Option<Content> {
        match number {
            Content::COMBINED => Some(Content::Combined),
            Content::ALL => Some(Content::All),
            module => Module::from_number(module).map(Content::Only),
        }
    }

    /// Whether `module` may find its image in this (steps 340, 343). The common image is one for nodes:
    /// a master has its own.
    pub fn may_suit(self, module: Module) -> bool {
        match self {
            Content::Combined => true,
            Content::Only(only) => only == module,
            Content::All => module != Module::Master,
        }
    }

    /// The word used in traces: `content=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Content::Combined => "combined",
            Content::Only(module) => module.as_str(),
            Content::All => "all",
        }
    }
}

/// What a node knows of itself, by its straps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its number on the bus; part of every identifier it sends with.
    pub node: u8,
    /// What it is for.
    pub module: Module,
    /// The redundant set it belongs to (CD57); [`MASTER_SET`] for masters.
    pub set: u8,
    /// Boots since it was powered, modulo 256.
    pub boots: u8,
}

/// Whom a reboot command is for (CD7, CD52).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every node.
    All,
    /// A redundant set.
    Set(u8),
    /// One node.
    Node(u8),
    /// All of one kind.
    Only(Module),
}

impl Scope {
    /// Whether the command is for `identity`. Masters stay operational (CD56): they are meant only
    /// when they are named.
    pub fn includes(self, identity: &Identity) -> bool {
        match self {
            Scope::All => identity.module != Module::Master,
            Scope::Set(set) => identity.set == set && identity.module != Module::Master,
            Scope::Node(node) => identity.node == node,
            Scope::Only(module) => identity.module == module,
        }
    }
}

/// Who may take a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The sets from the first to the last, both included: during an update the others are served
    /// another version (K3).
    Sets {
        /// The first.
        first: u8,
        /// The last.
        last: u8,
    },
    /// One addressed node: prior art (CD63).
    Node(u8),
}

impl Audience {
    /// Every node.
    pub const ALL: Audience = Audience::Sets {
        first: 0,
        last: MASTER_SET,
    };

    /// Whether `identity` is among them.
    pub fn includes(self, identity: &Identity) -> bool {
        match self {
            Audience::Sets { first, last } => (first..=last).contains(&identity.set),
            Audience::Node(node) => identity.node == node,
        }
    }
}

/// A version in four bytes: its numbers, and what tells builds of the same numbers apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VersionTag {
    major: u8,
    minor: u8,
    /// 0 for a version without a build.
    build: u16,
}

const CRC16: crc::Crc<u16, crc::NoTable> = crc::Crc::<u16, crc::NoTable>::new(&crc::CRC_16_ARC);

impl VersionTag {
    /// As in messages and containers.
    pub fn to_bytes(self) -> [u8; 4] {
        let [low, high] = self.build.to_le_bytes();
        [self.major, self.minor, low, high]
    }

    /// Reads it back.
    pub fn from_bytes([major, minor, low, high]: [u8; 4]) -> VersionTag {
        VersionTag {
            major,
            minor,
            build: u16::from_le_bytes([low, high]),
        }
    }
}

impl From<&Version> for VersionTag {
    fn from(version: &Version) -> VersionTag {
        let (major, minor) = version.number();
        let text = version.as_str();
        let small = u8::try_from(major).ok().zip(u8::try_from(minor).ok());
        let told = match small {
            Some(_) => text.split_once('-').map(|(_, build)| build),
            // Numbers that do not fit are told apart by the sum.
            None => Some(text),
        };
        let (major, minor) = small.unwrap_or((u8::MAX, u8::MAX));
        let build = told.map_or(0, |told| CRC16.checksum(told.as_bytes()).max(1));
        VersionTag {
            major,
            minor,
            build,
        }
    }
}

impl Words for VersionTag {
    fn say(&self, line: &mut Line) {
        line.put_number(self.major.into());
        line.put(".");
        line.put_number(self.minor.into());
        if self.build != 0 {
            line.put("-#");
            line.put_hexadecimal(self.build);
        }
    }
}

impl fmt::Display for VersionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words::display(self, f)
    }
}

impl fmt::Debug for VersionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionTag({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> VersionTag {
        VersionTag::from(&text.parse::<Version>().unwrap())
    }

    #[test]
    fn versions_keep_their_numbers_and_builds_stay_apart() {
        assert_eq!(tag("1.0").to_string(), "1.0");
        assert_eq!(tag("255.255").to_string(), "255.255");
        let all = ["1.0", "2.0", "2.0-crash", "2.0-hang", "256.0", "257.0"].map(tag);
        for (index, one) in all.iter().enumerate() {
            assert_eq!(VersionTag::from_bytes(one.to_bytes()), *one);
            assert!(all.iter().skip(index + 1).all(|other| other != one));
        }
    }

    #[test]
    fn cd41_who_may_find_its_image_where() {
        use Content::{All, Combined, Only};
        for (content, module, may) in [
            (Combined, Module::Drive, true),
            (Combined, Module::Master, true),
            (Only(Module::Drive), Module::Drive, true),
            (Only(Module::Drive), Module::Xy, false),
            (All, Module::Panel, true),
            (All, Module::Master, false),
        ] {
            assert_eq!(content.may_suit(module), may, "{content:?} {module:?}");
        }
        for number in 0..=u8::MAX {
            let content = Content::from_number(number);
            assert_eq!(content.is_some(), number < 8);
            assert!(content.is_none_or(|it| it.number() == number));
        }
    }

    #[test]
    fn cd56_a_master_is_rebooted_only_by_name() {
        let identity = |module, set| Identity {
            node: 3,
            module,
            set,
            boots: 0,
        };
        let (drive, master) = (identity(Module::Drive, 1), identity(Module::Master, 1));
        for (scope, drives, masters) in [
            (Scope::All, true, false),
            (Scope::Set(1), true, false),
            (Scope::Set(2), false, false),
            (Scope::Node(3), true, true),
            (Scope::Node(4), false, false),
            (Scope::Only(Module::Drive), true, false),
            (Scope::Only(Module::Master), false, true),
        ] {
            assert_eq!(scope.includes(&drive), drives, "{scope:?}");
            assert_eq!(scope.includes(&master), masters, "{scope:?}");
        }
    }
}
