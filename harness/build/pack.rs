//! From a linked program to the bytes a ROM or a flash bank holds.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use distribution::Content;
use image::{Component, ComponentKind, HEADER_SIZE, Kind};
use image_pack::Recipe;

use crate::elf;
use crate::sources::Program;

/// A ROM fills its part up to 1 MiB, the last word is the CRC-32 of all before it (read by L2's self test,
/// and by that of a node).
const ROM_END: u64 = 0x10_0000;
const ROM_BYTES: usize = 0x1_0000;
const NODE_ROM_BYTES: usize = 0x4000;
/// Of a node that keeps its image in flash, whose driver needs room.
const RESIDENT_ROM_BYTES: usize = 0x1_0000;
const CRC32: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Sections that the linker script makes of a level's parts (VC7).
const COMPONENTS: [(&str, ComponentKind); 4] = [
    (".boot", ComponentKind::Boot),
    (".drivers", ComponentKind::Drivers),
    (".os", ComponentKind::Os),
    (".application", ComponentKind::Application),
];

/// Image files are padded to whole erase sectors, as vendors do. So a change of a few instructions
/// changes no image's length, and with it no instant of a boot that reads every byte.
const SECTOR_BYTES: usize = 4096;

/// The sectors that images of a level have in the field. They keep them when their code gets smaller, for the same
/// reason.
fn least_sectors(program: &Program) -> usize {
    match program.kind {
        Kind::L2 => 19,
        Kind::L3 if program.version.as_str().ends_with("-iscsi") => 57,
        Kind::L3 => 44,
        _ => 1,
    }
}

/// What goes into the program.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) bytes: Vec<u8>,
    functions: Vec<(u64, u64, String)>,
}

pub(crate) fn pack(program: &Program, elf: &[u8]) -> Result<Packed, Box<dyn Error>> {
    let linked = elf::Program::parse(elf)?;
    let (start, flat) = linked.flat(0xff)?;
    let bytes = match program.kind {
        Kind::L1 => rom(start, flat, ROM_BYTES)?,
        Kind::NodeRom if program.version.as_str().ends_with("-resident") => {
            rom(start, flat, RESIDENT_ROM_BYTES)?
        }
        Kind::NodeRom => rom(start, flat, NODE_ROM_BYTES)?,
        _ => level(program, &linked, start, &flat)?,
    };
    Ok(Packed {
        bytes,
        functions: linked.functions(),
    })
}

fn rom(start: u64, mut rom: Vec<u8>, bytes: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    if rom.len() != bytes || start + u64::try_from(bytes)? != ROM_END {
        return Err(format!("the ROM is {} bytes at {start:#x}", rom.len()).into());
    }
    if let Some((body, sum)) = rom.split_last_chunk_mut::<4>() {
        *sum = CRC32.checksum(body).to_le_bytes();
    }
    Ok(rom)
}

fn level(
    program: &Program,
    linked: &elf::Program<'_>,
    start: u64,
    body: &[u8],
) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut body = body.to_vec();
    let sectors = (HEADER_SIZE + body.len()).div_ceil(SECTOR_BYTES);
    let length = sectors.max(least_sectors(program)) * SECTOR_BYTES - HEADER_SIZE;
    // Zeros: behind the body lies what a program expects to be zero.
    body.resize(length, 0);
    let mut components = Vec::new();
    for (section, kind) in COMPONENTS {
        if let Some((address, length)) = linked.section(section) {
            components.push(Component {
                kind,
                offset: u32::try_from(address - start)?,
                length: u32::try_from(length)?,
            });
        }
    }
    let recipe = Recipe {
        kind: program.kind,
        version: program.version,
        load_address: u32::try_from(start)?,
        entry_offset: 0,
        components: &components,
    };
    Ok(image_pack::image(&recipe, &body)?)
}

impl Packed {
    /// One element of the table that `src/firmware` includes.
    pub(crate) fn table_entry(&self, program: &Program, file: &Path) -> String {
        let mut entry = format!(
            "Firmware {{ name: {:?}, kind: Kind::{:?}, version: {:?}, content: {}, \
             bytes: include_bytes!({:?}), functions: &[",
            program.binary,
            program.kind,
            program.version.as_str(),
            match program.content {
                Some(Content::Only(module)) => {
                    format!("Some(Content::Only(Module::{module:?}))")
                }
                Some(content) => format!("Some(Content::{content:?})"),
                None => "None".to_owned(),
            },
            file.display().to_string(),
        );
        for (address, length, name) in &self.functions {
            // Writing to a String cannot fail.
            let _infallible = write!(entry, "({address:#x}, {length:#x}, {name:?}),");
        }
        entry.push_str("] },\n");
        entry
    }
}
