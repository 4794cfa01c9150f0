//! The SCSI target of the reference controller and, apart from it, the transport that carries it.
//!
//! | module | contents |
//! |---|---|
//! | [`target`] | the device server of one LUN: a command goes in, disk work or an answer comes out |
//! | [`sense`] | fixed-format sense data (SPC-4 §4.5.3) |
//! | [`cdb`] | fields of command descriptor blocks, with the place of a wrong one |
//! | [`inquiry`] | standard INQUIRY data and the vital product data pages |
//! | [`parameters`] | parameter data: what an answer carries that does not come from the disk |
//! | [`ethernet`] | the SCSI-in-Ethernet transport; nothing else in this crate knows of it |
//!
//! The target never waits: a command that needs the disk answers with a [`target::DiskOperation`]
//! and a [`target::Task`] to resume when it is done, so any number of commands can be in flight.
//! A WRITE is answered only after the data is durable (write + flush): in this array
//! *acknowledged* means *durable*, and the caching mode page says so (WCE = 0).
#![cfg_attr(not(test), no_std)]

pub mod cdb;
pub mod ethernet;
pub mod inquiry;
pub mod parameters;
pub mod sense;
pub mod target;
