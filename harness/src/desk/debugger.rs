//! What a debugger of the boards needs: where to connect, and the reference firmware's functions.

use std::fs;
use std::path::Path;

use emulator::array::slot_letter;
use object::write::{Object, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
};

use crate::firmware::{Firmware, all};
use crate::runner::BenchError;

/// Writes symbol files and one script a board into `folder`; returns how to begin.
pub(super) fn prepare(folder: &Path, first_port: u16, slots: usize) -> Result<String, BenchError> {
    let failed = |what: &str| {
        let what = format!("{}: {what}", folder.display());
        move |source| BenchError::Host { what, source }
    };
    fs::create_dir_all(folder).map_err(failed("cannot be made"))?;
    for firmware in all() {
        let path = folder.join(format!("{}.sym", firmware.name));
        fs::write(path, symbols(firmware)).map_err(failed("no symbols can be written here"))?;
    }
    let mut told = String::from("Each board waits for a debugger, and runs until one comes:\n");
    for slot in 0..slots {
        let board = slot_letter(slot);
        let port = usize::from(first_port) + slot;
        let script = folder.join(format!("{board}.gdb"));
        fs::write(&script, commands(folder, port))
            .map_err(failed("no script can be written here"))?;
        told += &format!("  {board}: gdb -x {}\n", script.display());
    }
    told += "A reset or a cut ends the connection: `target remote` connects again. Virtual time stands while a board\n\
             is halted. Other builds than 1.0: `symbol-file` and `add-symbol-file` with their .sym files.";
    Ok(told)
}

/// The levels of build 1.0, which do not overlap in memory.
fn commands(folder: &Path, port: usize) -> String {
    let file = |name: &str| folder.join(format!("{name}.sym")).display().to_string();
    let mut text =
        String::from("set confirm off\nset pagination off\nset architecture i386:x86-64\n");
    for firmware in all() {
        if ["l1", "l2-1-0", "l3-1-0"].contains(&firmware.name) {
            let (start, _) = span(firmware);
            text += &format!("add-symbol-file \"{}\" {start:#x}\n", file(firmware.name));
        }
    }
    text + &format!("target remote 127.0.0.1:{port}\n")
}

/// First address of the functions, and the one behind the last.
fn span(firmware: &Firmware) -> (u64, u64) {
    let functions = firmware.functions();
    let start = functions.first().map_or(0, |(address, ..)| *address);
    let end = functions
        .last()
        .map_or(0, |(address, length, _)| address + length);
    (start, end)
}

/// An ELF file with nothing in it but the names of functions, in a section that begins at the first.
fn symbols(firmware: &Firmware) -> Vec<u8> {
    let mut elf = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let (start, end) = span(firmware);
    let text = elf.add_section(Vec::new(), b".text".to_vec(), SectionKind::Text);
    // Never read: the code is in the board's memory.
    let size = usize::try_from(end - start).unwrap_or(0);
    elf.append_section_data(text, &vec![0; size], 1);
    for (address, length, name) in firmware.functions() {
        elf.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value: *address - start,
            size: *length,
            kind: SymbolKind::Text,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(text),
            flags: SymbolFlags::None,
        });
    }
    // Fails for what cannot be expressed in ELF, which plain symbols can.
    elf.write().unwrap_or_default()
}
