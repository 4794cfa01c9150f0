//! What carries commands between hosts and this controller: the one layer that another kind of host link
//! replaces. Nothing above it knows which one it is.

mod by_strap;
mod ethernet;
mod iscsi;
mod wire;

use scsi::target::{Answer, Command};

use crate::hardware::Hardware;

pub(crate) use by_strap::ByStrap;
pub(crate) use ethernet::EthernetScsi;

/// A host link. Up to [`COMMANDS`](crate::hardware::COMMANDS) commands are taken from it at a time, each in
/// a place of its own.
pub(crate) trait HostLink {
    /// What an answer needs to know of the command it answers.
    type Exchange: Copy;

    /// Takes the link over; hosts are not heard yet. `frames` is memory for [`COMMANDS`] frames.
    ///
    /// [`COMMANDS`]: crate::hardware::COMMANDS
    fn new(hardware: &Hardware, frames: &'static mut [u8]) -> Self;

    /// Hosts are heard from now on.
    fn open(&mut self, array_identity: u64);

    /// Takes the next thing that has arrived into `place`.
    fn receive(&mut self, hardware: &Hardware, place: usize) -> Received<'_, Self::Exchange>;

    /// The data-out of the command in `place`.
    fn data_out(&self, place: usize) -> &[u8];

    /// Sends an answer with its data-in.
    fn answer(
        &mut self,
        hardware: &Hardware,
        exchange: &Self::Exchange,
        answer: &Answer,
        data_in: &[u8],
    );

    /// Everything that came is answered, as far as it can be: lets the answers go.
    fn settle(&mut self, hardware: &Hardware);

    /// When [`HostLink::settle`] has something to do though nothing came.
    fn deadline_ns(&mut self, hardware: &Hardware) -> u64;
}

/// What has arrived.
#[derive(Debug)]
pub(crate) enum Received<'a, E> {
    /// Nothing more.
    Nothing,
    /// Nothing that needs an answer.
    Noise,
    /// A command.
    Command(E, Command<'a>),
    /// The logical unit is to be reset.
    Reset,
}
