//! The package that a partner runs, read over the backplane (VC5), and the other end of that.

use boot::{Bank, BankReader, Level, PackageSink, Publication, Unwritable};
use cluster::Message;
use cluster::message::{ANYBODY, READ_MAX, data_header, parse, read_request};
use image::{MANIFEST_SIZE, ReadAt, Unreadable};

use crate::Running;
use crate::hardware::Hardware;

/// How long an operational partner may take for an answer: it reads its own flash for the first one.
const PATIENCE_NS: u64 = 500_000_000;
/// Requests on their way at a time.
const WINDOW: usize = 4;
const FRAME_BYTES: usize = 9014;

/// A partner's package; empty when no partner answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartnerPackage<'a> {
    hardware: &'a Hardware,
    partner: u8,
    length: u32,
}

impl<'a> PartnerPackage<'a> {
    /// Asks who is there.
    pub(crate) fn find(hardware: &'a Hardware) -> PartnerPackage<'a> {
        let mut found = PartnerPackage {
            hardware,
            partner: ANYBODY,
            length: 0,
        };
        let mut manifest = [0; MANIFEST_SIZE];
        let until_ns = hardware.control.now_ns().saturating_add(PATIENCE_NS);
        if found.send(0, MANIFEST_SIZE).is_ok()
            && let Ok((partner, length)) = found.receive(0, &mut manifest, until_ns)
        {
            found.partner = partner;
            found.length = length;
        }
        found
    }

    fn send(&self, offset: usize, length: usize) -> Result<(), Unreadable> {
        let offset = u32::try_from(offset).map_err(|_| Unreadable)?;
        let length = u32::try_from(length).map_err(|_| Unreadable)?;
        let frame = read_request(self.hardware.slot(), self.partner, offset, length);
        let port = self.hardware.backplane.as_ref().ok_or(Unreadable)?;
        port.send(&self.hardware.control, &[frame.as_bytes()])
            .map_err(|_| Unreadable)
    }

    /// Waits for an answer that brings bytes of `out`, which begins at `base`; answers who sent it and
    /// how long its package is.
    fn receive(&self, base: usize, out: &mut [u8], until_ns: u64) -> Result<(u8, u32), Unreadable> {
        let control = &self.hardware.control;
        let port = self.hardware.backplane.as_ref().ok_or(Unreadable)?;
        loop {
            let mut frame = [0; FRAME_BYTES];
            while let Some(length) = port.receive(&mut frame).map_err(|_| Unreadable)? {
                let Some(Message::Data {
                    slot,
                    to,
                    offset,
                    total,
                    bytes,
                }) = parse(frame.get(..length).unwrap_or_default(), 2)
                else {
                    continue;
                };
                let expected = self.partner == ANYBODY || self.partner == slot;
                if to != self.hardware.slot() || !expected {
                    continue;
                }
                let at = usize::try_from(offset).map_err(|_| Unreadable)?;
                let place = at.checked_sub(base).and_then(|at| out.get_mut(at..));
                let Some(place) = place else { continue };
                for (to, from) in place.iter_mut().zip(bytes) {
                    *to = *from;
                }
                return Ok((slot, total));
            }
            if control.now_ns() >= until_ns {
                return Err(Unreadable);
            }
            control
                .wait(port.mask(), 0, Some(until_ns))
                .map_err(|_| Unreadable)?;
        }
    }
}

impl ReadAt for PartnerPackage<'_> {
    fn length(&self) -> u32 {
        self.length
    }

    fn read_at(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Unreadable> {
        let mut at = usize::try_from(offset).map_err(|_| Unreadable)?;
        for part in out.chunks_mut(WINDOW * READ_MAX) {
            let mut asked = 0;
            for piece in part.chunks(READ_MAX) {
                self.send(at + asked, piece.len())?;
                asked += piece.len();
            }
            let until_ns = self.hardware.control.now_ns().saturating_add(PATIENCE_NS);
            // The backplane loses nothing and keeps the order: as many answers as questions.
            for _ in 0..part.len().div_ceil(READ_MAX) {
                self.receive(at, part, until_ns)?;
            }
            at += part.len();
        }
        Ok(())
    }
}

/// What this controller answers its partners: its own package, made of its flash when it is first asked
/// for.
#[derive(Debug)]
pub(crate) struct OwnPackage {
    memory: &'static mut [u8],
    length: Option<usize>,
}

impl OwnPackage {
    /// Nothing yet; `memory` is where it will be.
    pub(crate) fn new(memory: &'static mut [u8]) -> OwnPackage {
        OwnPackage {
            memory,
            length: None,
        }
    }

    /// Answers the request of the controller in `to`.
    pub(crate) fn answer(
        &mut self,
        hardware: &Hardware,
        running: &Running,
        work: &mut [u8],
        to: u8,
        offset: u32,
        length: u32,
    ) {
        if self.length.is_none() {
            self.length = own_package(hardware, running, self.memory, work);
        }
        let (Some(total), Some(port)) = (self.length, &hardware.backplane) else {
            return;
        };
        let package = self.memory.get(..total).unwrap_or_default();
        let (Ok(start), Ok(wanted)) = (usize::try_from(offset), usize::try_from(length)) else {
            return;
        };
        let bytes = package.get(start..).unwrap_or_default();
        let bytes = bytes.get(..wanted.min(READ_MAX)).unwrap_or(bytes);
        let total = u32::try_from(total).unwrap_or(0);
        let header = data_header(hardware.slot(), to, offset, total);
        // A partner that gets no answer asks again or gives up.
        let _lost = port.send(&hardware.control, &[header.as_bytes(), bytes]);
    }
}

/// Puts the images of the banks that booted into `memory`, as a package.
fn own_package(
    hardware: &Hardware,
    running: &Running,
    memory: &mut [u8],
    work: &mut [u8],
) -> Option<usize> {
    let mut publication = Publication::new(InMemory(memory), running.version, work);
    let banks = [
        (Level::L2, running.l2_bank, &running.l2),
        (Level::L3, running.l3_bank, &running.l3),
    ];
    for (level, bank, header) in banks {
        let bank: Bank = next_level::bank(bank);
        let mut flash = hardware.bank(level, bank)?;
        publication.add(header, BankReader(&mut flash)).ok()?;
    }
    usize::try_from(publication.finish().ok()?.length).ok()
}

struct InMemory<'a>(&'a mut [u8]);

impl PackageSink for InMemory<'_> {
    fn write_at(&mut self, offset: u32, sectors: &[u8]) -> Result<(), Unwritable> {
        let start = usize::try_from(offset).map_err(|_| Unwritable)?;
        let end = start.checked_add(sectors.len()).ok_or(Unwritable)?;
        let place = self.0.get_mut(start..end).ok_or(Unwritable)?;
        place.copy_from_slice(sectors);
        Ok(())
    }
}
