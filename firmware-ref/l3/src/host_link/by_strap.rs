//! The host link that the board's straps ask for.

use runtime::HostTransport;
use scsi::target::Answer;

use super::iscsi::{Iscsi, Origin};
use super::{EthernetScsi, HostLink, Received};
use crate::hardware::Hardware;

/// One of the two.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one, for good, and no heap"
)]
#[derive(Debug)]
pub(crate) enum ByStrap {
    Ethernet(EthernetScsi),
    Iscsi(Iscsi),
}

/// Whose exchange it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exchange {
    Ethernet(scsi::ethernet::Exchange),
    Iscsi(Origin),
}

impl HostLink for ByStrap {
    type Exchange = Exchange;

    fn new(hardware: &Hardware, frames: &'static mut [u8]) -> ByStrap {
        match hardware.control.identity().straps.host_transport() {
            HostTransport::Iscsi => ByStrap::Iscsi(Iscsi::new(hardware, frames)),
            HostTransport::EthernetScsi | HostTransport::Reserved => {
                ByStrap::Ethernet(EthernetScsi::new(hardware, frames))
            }
        }
    }

    fn open(&mut self, array_identity: u64) {
        match self {
            ByStrap::Ethernet(link) => link.open(array_identity),
            ByStrap::Iscsi(link) => link.open(array_identity),
        }
    }

    fn receive(&mut self, hardware: &Hardware, place: usize) -> Received<'_, Exchange> {
        match self {
            ByStrap::Ethernet(link) => link.receive(hardware, place).map(Exchange::Ethernet),
            ByStrap::Iscsi(link) => link.receive(hardware, place).map(Exchange::Iscsi),
        }
    }

    fn data_out(&self, place: usize) -> &[u8] {
        match self {
            ByStrap::Ethernet(link) => link.data_out(place),
            ByStrap::Iscsi(link) => link.data_out(place),
        }
    }

    fn answer(
        &mut self,
        hardware: &Hardware,
        exchange: &Exchange,
        answer: &Answer,
        data_in: &[u8],
    ) {
        match (self, exchange) {
            (ByStrap::Ethernet(link), Exchange::Ethernet(exchange)) => {
                link.answer(hardware, exchange, answer, data_in);
            }
            (ByStrap::Iscsi(link), Exchange::Iscsi(exchange)) => {
                link.answer(hardware, exchange, answer, data_in);
            }
            // An exchange comes from the link that is answered through.
            (ByStrap::Ethernet(_), Exchange::Iscsi(_))
            | (ByStrap::Iscsi(_), Exchange::Ethernet(_)) => {}
        }
    }

    fn settle(&mut self, hardware: &Hardware) {
        match self {
            ByStrap::Ethernet(link) => link.settle(hardware),
            ByStrap::Iscsi(link) => link.settle(hardware),
        }
    }

    fn deadline_ns(&mut self, hardware: &Hardware) -> u64 {
        match self {
            ByStrap::Ethernet(link) => link.deadline_ns(hardware),
            ByStrap::Iscsi(link) => link.deadline_ns(hardware),
        }
    }
}

impl<'a, E> Received<'a, E> {
    fn map<F>(self, of: impl Fn(E) -> F) -> Received<'a, F> {
        match self {
            Received::Nothing => Received::Nothing,
            Received::Noise => Received::Noise,
            Received::Command(exchange, command) => Received::Command(of(exchange), command),
            Received::Reset => Received::Reset,
        }
    }
}
