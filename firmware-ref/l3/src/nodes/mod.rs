//! What a controller does for the nodes of the chassis' CAN bus. Builds that serve none are not even linked with it.
//!
//! | module | contents |
//! |---|---|
//! | [`master`] | the distribution of images, carried out on the board |
//! | [`library`] | the images, in memory |
//! | [`settings`] | how requests are collected and answered, as kept in the array |
//! | [`command`] | what an operator can type about nodes |
//! | [`lists`] | what they are told |

mod command;
mod library;
mod lists;
mod master;
mod settings;

use image::Package;
use runtime::board_control::SlotMask;

use crate::application::Context;
use crate::chassis::Chassis;
use crate::hardware::Hardware;

pub(crate) use master::CanMaster;

/// The part of the application that serves nodes.
pub(crate) trait Nodes {
    /// Whether there is any.
    const SERVES: bool;

    /// Takes the end of `memory` for images; the rest of it is left.
    fn new(hardware: &Hardware, memory: &mut &'static mut [u8]) -> Self;

    /// The application runs.
    fn open(&mut self, context: &mut Context<'_>);

    /// Where something may arrive, and where everything sent must be gone first.
    fn masks(&self) -> [SlotMask; 2];

    /// When [`Nodes::serve`] has something to do though nothing came.
    fn deadline_ns(&self) -> u64;

    /// Takes what came, and does what is due.
    fn serve(&mut self, context: &mut Context<'_>, chassis: &mut Chassis);

    /// What an operator can type about them.
    fn help(&self, hardware: &Hardware);

    /// Carries out what an operator typed behind `node`.
    fn obey(&mut self, context: &mut Context<'_>, words: &str);

    /// Why `package` must not become the preferred one, if so.
    fn objection(&self, package: &Package) -> Option<&'static str>;

    /// The catalogue was changed.
    fn catalogue_changed(&mut self);
}

/// No nodes.
#[derive(Debug)]
pub(crate) struct NoNodes;

impl Nodes for NoNodes {
    const SERVES: bool = false;

    fn new(_hardware: &Hardware, _memory: &mut &'static mut [u8]) -> NoNodes {
        NoNodes
    }

    fn open(&mut self, _context: &mut Context<'_>) {}

    fn masks(&self) -> [SlotMask; 2] {
        [0; 2]
    }

    fn deadline_ns(&self) -> u64 {
        u64::MAX
    }

    fn serve(&mut self, _context: &mut Context<'_>, _chassis: &mut Chassis) {}

    fn help(&self, _hardware: &Hardware) {}

    fn obey(&mut self, _context: &mut Context<'_>, _words: &str) {}

    fn objection(&self, _package: &Package) -> Option<&'static str> {
        None
    }

    fn catalogue_changed(&mut self) {}
}
