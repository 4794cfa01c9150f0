//! Files that people write: read within bounds, and complained about so that they can be mended.
//!
//! * [`SourceFile`] — a text with its name; reading one never follows a pipe or a huge file.
//! * [`Findings`], [`Problem`], [`FileError`] — what is wrong, where, and the remedy; rendered
//!   with the line it is about.
//! * [`Reader`] — one TOML table read key by key; a key nobody asked for is a problem.
//! * [`read_binary`], [`open_file`] — the same care for files that are no texts.
//! * [`load_rig`] — rig files, by name or path; [`with_setup_files`] — with the files that `scripts/setup` makes.

mod binary;
mod boot;
mod diagnostic;
mod reader;
mod rig;
mod source;
mod suggest;

pub use binary::{LARGEST_FIRMWARE_BYTES, open_file, read_binary};
pub use boot::{NotSetUp, with_setup_files};
pub use diagnostic::{FileError, Findings, Problem};
pub use reader::{Reader, Value, integer_of, string_of, word_of};
pub use rig::{
    BUILT_IN_RIGS, ROM_BYTES, built_in_rig_names, load_rig, most_node_rom_bytes, parse_rig,
};
pub use source::SourceFile;
pub use suggest::nearest;
