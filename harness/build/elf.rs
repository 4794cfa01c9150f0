//! The parts of a linked program that matter here: what is loaded where, and which function is where.

use std::error::Error;

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection, ObjectSegment, ObjectSymbol, SymbolKind};

/// A freestanding program.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    file: ElfFile64<'a, Endianness>,
}

impl<'a> Program<'a> {
    pub(crate) fn parse(elf: &'a [u8]) -> Result<Program<'a>, Box<dyn Error>> {
        Ok(Program {
            file: ElfFile64::parse(elf)?,
        })
    }

    /// The bytes to be stored, from the lowest load address to the end of the highest one; gaps are
    /// `fill`. Bss is not among them.
    pub(crate) fn flat(&self, fill: u8) -> Result<(u64, Vec<u8>), Box<dyn Error>> {
        let mut pieces = Vec::new();
        for segment in self.file.segments() {
            let bytes = segment.data()?;
            let header = segment.elf_program_header();
            let address = header.p_paddr.get(self.file.endian());
            if !bytes.is_empty() {
                pieces.push((address, bytes));
            }
        }
        let start = pieces.iter().map(|(address, _)| *address).min();
        let start = start.ok_or("nothing is loaded")?;
        let mut flat = Vec::new();
        for (address, bytes) in pieces {
            let at = usize::try_from(address - start)?;
            let end = at + bytes.len();
            if flat.len() < end {
                flat.resize(end, fill);
            }
            flat[at..end].copy_from_slice(bytes);
        }
        Ok((start, flat))
    }

    /// Address and length of a section.
    pub(crate) fn section(&self, name: &str) -> Option<(u64, u64)> {
        let section = self.file.section_by_name(name)?;
        Some((section.address(), section.size()))
    }

    /// Start, length and name of every function, by address.
    pub(crate) fn functions(&self) -> Vec<(u64, u64, String)> {
        let mut functions: Vec<_> = self
            .file
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
            .filter_map(|symbol| {
                let name = rustc_demangle::demangle(symbol.name().ok()?);
                // Without the hash: it changes with every compiler.
                Some((symbol.address(), symbol.size(), format!("{name:#}")))
            })
            .collect();
        functions.sort();
        functions.dedup_by_key(|(address, ..)| *address);
        functions
    }
}
