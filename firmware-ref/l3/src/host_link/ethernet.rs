//! SCSI in Ethernet: a frame is a command, a frame is its answer.

use scsi::ethernet::{Exchange, parse_command, response_header};
use scsi::target::Answer;

use super::{HostLink, Received};
use crate::hardware::{FRAME_ROOM, Hardware};

/// Bytes of a command frame before its data-out.
const COMMAND_HEADER: usize = 42;

/// The link, with room for a frame a place.
#[derive(Debug)]
pub(crate) struct EthernetScsi {
    frames: &'static mut [u8],
}

impl HostLink for EthernetScsi {
    type Exchange = Exchange;

    fn new(_hardware: &Hardware, frames: &'static mut [u8]) -> EthernetScsi {
        EthernetScsi { frames }
    }

    fn open(&mut self, _array_identity: u64) {}

    fn receive(&mut self, hardware: &Hardware, place: usize) -> Received<'_, Exchange> {
        let Some(port) = &hardware.host_port else {
            return Received::Nothing;
        };
        let Some(frame) = self.frames.chunks_mut(FRAME_ROOM).nth(place) else {
            return Received::Nothing;
        };
        let Ok(Some(length)) = port.receive(frame) else {
            return Received::Nothing;
        };
        let received = frame.get(..length).unwrap_or_default();
        match parse_command(received) {
            Some((exchange, command)) => Received::Command(exchange, command),
            None => Received::Noise,
        }
    }

    fn data_out(&self, place: usize) -> &[u8] {
        let frame = self.frames.chunks(FRAME_ROOM).nth(place);
        frame
            .and_then(|frame| frame.get(COMMAND_HEADER..))
            .unwrap_or_default()
    }

    fn answer(
        &mut self,
        hardware: &Hardware,
        exchange: &Exchange,
        answer: &Answer,
        data_in: &[u8],
    ) {
        let Some(port) = &hardware.host_port else {
            return;
        };
        let header = response_header(exchange, answer, data_in.len());
        // An initiator that hears nothing asks again.
        let _lost = port.send(&hardware.control, &[&header, data_in]);
    }

    /// Frames go out with the next wait.
    fn settle(&mut self, _hardware: &Hardware) {}

    fn deadline_ns(&mut self, _hardware: &Hardware) -> u64 {
        u64::MAX
    }
}
