//! The RAID shelf: member disks, levels 0, 1, 5 and 6, a volatile write cache, one volume.
//!
//! * `settings.rs` — what an array is made of.
//! * `geometry.rs`, `gf.rs`, `redundancy.rs` — where sectors lie and how lost ones come back.
//! * `sector.rs`, `drive.rs` — 520-byte sectors with checksums; a member disk that does one
//!   operation at a time and what a power loss makes of it.
//! * `superblock.rs`, `journal.rs` — what members say of the array; what closes the write hole.
//! * `array.rs` — [`Shelf`]: making one, reading its rows. `requests.rs` — what controllers ask.
//! * `engine.rs` — the order of things in time. `cache.rs`, `commit.rs` — from cache to members; `pool.rs` —
//!   chunks that go round between them.
//! * `power.rs` — losing power and coming back. `members.rs`, `scrub.rs` — failing, replacing,
//!   rebuilding, scrubbing. `status.rs` — what it says of itself.
//!
//! A member disk, in 520-byte sectors: superblock 0–1, journal 8–135, rows of chunks from 136 on.

mod array;
mod cache;
mod commit;
mod drive;
mod engine;
mod geometry;
mod gf;
mod journal;
mod members;
mod pool;
mod power;
mod redundancy;
mod requests;
mod scrub;
mod sector;
mod settings;
mod status;
mod superblock;
#[cfg(test)]
mod tests;

pub use array::Shelf;
pub use drive::MemberCounters;
pub use geometry::Level;
pub use sector::STORED_BYTES;
pub use settings::{DiskTiming, Region, ShelfError, ShelfSettings};
pub use status::{Counters, MemberState, ScrubStatus, ShelfState, ShelfStatus};
