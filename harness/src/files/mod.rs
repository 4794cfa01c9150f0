//! Files that people write: read within bounds, and complained about so that they can be mended.
//!
//! * [`SourceFile`] — a text with its name; reading one never follows a pipe or a huge file.
//! * [`Findings`], [`Problem`], [`FileError`] — what is wrong, where, and the remedy; rendered
//!   with the line it is about.
//! * [`Reader`] — one TOML table read key by key; a key nobody asked for is a problem.
//! * [`load_rig`] — rig files, by name or path.

mod diagnostic;
mod reader;
mod rig;
mod source;
mod suggest;

pub use diagnostic::{FileError, Findings, Problem};
pub use reader::{Reader, Value, integer_of, string_of, word_of};
pub use rig::{BUILT_IN_RIGS, built_in_rig_names, load_rig};
pub use source::SourceFile;
pub use suggest::nearest;
