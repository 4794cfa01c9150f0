use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use devices::virtio::GuestMemory;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use serde_json::Value;

use super::answers::{self, Answers};
use super::installation::Installation;
use super::monitor::{Monitor, Said, crash_report, is_halted};
use super::process::{Accelerator, Board, Process};
use crate::engine::ram::Ram;
use crate::engine::{Counters, Debugging, Engine, EngineError, Hardware, Reset, SavedEngine, Stop};
use crate::slot::Slot;
use crate::vhost_user::{Connection, Waiting};

/// Bytes of the boot ROM: what QEMU maps at the top of 4 GiB, and below 1 MiB.
const ROM_BYTES: usize = 64 << 10;
/// How long QEMU may be silent before it is looked at whether its CPU still runs.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Looks at a CPU that uses no time and is not halted, after which it counts as hung: a minute.
const MOST_IDLE_LOOKS: u32 = 600;

/// One board's QEMU, or none while the board is in reset.
pub struct QemuEngine {
    installation: Arc<Installation>,
    accelerator: Accelerator,
    debugging: Option<Debugging>,
    hardware: Hardware,
    running: Option<Running>,
    rom: Rom,
    ram: Ram,
    ram_file: File,
    counters: Counters,
}

impl std::fmt::Debug for QemuEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QemuEngine")
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl QemuEngine {
    fn count(&mut self, stop: &Stop) {
        self.counters.exits += 1;
        match stop {
            Stop::Notified { .. } => self.counters.notifications += 1,
            Stop::Printed(_) | Stop::Quiet => {}
            Stop::Crashed(_) | Stop::Hung(_) | Stop::Halted | Stop::WantsReset => {
                self.running = None;
            }
        }
    }
}

/// One boot of a board. The process ends first: it has the memory mapped and the other ends.
struct Running {
    process: Process,
    monitor: Monitor,
    serial: UnixStream,
    /// By slot.
    devices: Vec<Option<Connection>>,
    /// It waits for answers of board control.
    clocked: bool,
    /// What happened and was not told yet.
    stops: VecDeque<Stop>,
    /// Slots whose front-end does not know their configuration space yet.
    to_tell: Vec<usize>,
    answers: Answers,
}

/// The boot ROM as a file that QEMU maps.
struct Rom {
    file: File,
    bytes: Vec<u8>,
    broken: Option<u16>,
}

fn cannot(what: &'static str) -> impl FnOnce(std::io::Error) -> EngineError {
    move |why| EngineError::Qemu {
        what,
        why: why.to_string(),
    }
}

impl QemuEngine {
    /// A board without power.
    ///
    /// # Errors
    /// The ROM is too large, or the host has no memory.
    pub fn new(
        installation: Arc<Installation>,
        accelerator: Accelerator,
        debugging: Option<Debugging>,
        hardware: Hardware,
    ) -> Result<QemuEngine, EngineError> {
        let beyond = (!hardware.machine.runs_freely()).then_some(answers::PLACE);
        let (ram, ram_file) = Ram::shared(hardware.ram_mib, beyond)?;
        Ok(QemuEngine {
            installation,
            accelerator,
            debugging,
            running: None,
            rom: Rom::new(&hardware.rom)?,
            hardware,
            ram,
            ram_file,
            counters: Counters::default(),
        })
    }
}

impl Engine for QemuEngine {
    fn run(&mut self, slots: &mut [Slot]) -> Result<Stop, EngineError> {
        let Some(running) = &mut self.running else {
            // A board in reset is not run.
            return Ok(Stop::Halted);
        };
        // Whoever debugs a board may look at it for as long as he likes.
        let (hang_limit, leave) = match &self.debugging {
            None => (self.hardware.hang_limit, None),
            Some(debugging) => (Duration::MAX, Some(debugging.leave.as_ref())),
        };
        let stop = running.run(slots, self.ram.memory(), hang_limit, leave)?;
        self.count(&stop);
        Ok(stop)
    }

    fn run_freely(&mut self, slots: &mut [Slot], patience: Duration) -> Result<Stop, EngineError> {
        let Some(running) = &mut self.running else {
            return Ok(Stop::Halted);
        };
        let stop = running.run_freely(slots, patience)?;
        self.count(&stop);
        Ok(stop)
    }

    fn interrupt(&mut self, slot: usize, queue: usize) {
        let devices = self.running.as_ref().map(|running| &running.devices);
        if let Some(Some(Some(connection))) = devices.map(|devices| devices.get(slot)) {
            connection.call(queue);
        }
    }

    fn type_bytes(&mut self, bytes: &[u8]) -> usize {
        let serial = self.running.as_mut().map(|running| &mut running.serial);
        // A serial port that takes nothing at the moment is asked again.
        serial.map_or(0, |serial| serial.write(bytes).unwrap_or(0))
    }

    fn reset(&mut self, reset: Reset, slots: &mut [Slot]) -> Result<(), EngineError> {
        self.running = None;
        if reset == Reset::Cold {
            self.ram.clear();
        }
        for slot in slots.iter_mut() {
            slot.reset();
        }
        self.counters.resets += 1;
        let board = Board {
            accelerator: self.accelerator,
            debug_port: self.debugging.as_ref().map(|it| it.port),
            hardware: &self.hardware,
            ram: &self.ram_file,
            rom: &self.rom.file,
            faces: slots.iter().map(|slot| &slot.face).collect(),
        };
        let (process, ends) = Process::start(&self.installation, &board)?;
        let mut devices = Vec::new();
        for (end, slot) in ends.devices.into_iter().zip(slots.iter()) {
            let connect =
                |end| Connection::new(end, slot.face.clone(), Some(self.ram.memory().clone()));
            devices.push(
                end.map(connect)
                    .transpose()
                    .map_err(cannot("be connected with"))?,
            );
        }
        if self.debugging.is_some() {
            devices
                .iter_mut()
                .flatten()
                .for_each(Connection::expect_pauses);
        }
        let serial = ends.serial;
        serial
            .set_nonblocking(true)
            .map_err(cannot("be connected with"))?;
        self.running = Some(Running {
            process,
            monitor: Monitor::new(ends.monitor).map_err(cannot("be asked"))?,
            serial,
            devices,
            clocked: !self.hardware.machine.runs_freely(),
            stops: VecDeque::new(),
            to_tell: Vec::new(),
            answers: Answers::default(),
        });
        Ok(())
    }

    fn rest(&mut self) {
        // A debugger talks to QEMU, not to the guest.
        if let (Some(running), None) = (&mut self.running, &self.debugging) {
            running.process.pause();
        }
    }

    fn attend(&mut self, slots: &mut [Slot]) -> Result<(), EngineError> {
        if let (Some(running), Some(_)) = (&mut self.running, &self.debugging) {
            running.attend(slots, Some(&Timespec::default()))?;
        }
        Ok(())
    }

    fn power_off(&mut self) {
        self.running = None;
    }

    fn refresh(&mut self, index: usize, slot: &mut Slot) {
        let Some(running) = &mut self.running else {
            return;
        };
        if let Some(Some(connection)) = running.devices.get_mut(index)
            && connection.show(&slot.face)
            && !running.to_tell.contains(&index)
        {
            running.to_tell.push(index);
        }
    }

    fn memory(&self) -> &GuestMemory {
        self.ram.memory()
    }

    fn save(&mut self, _base: Option<&SavedEngine>) -> Result<SavedEngine, EngineError> {
        Err(EngineError::Checkpoint(
            "the QEMU engine cannot make one; use --engine kvm",
        ))
    }

    fn restore(&mut self, _saved: &SavedEngine) -> Result<(), EngineError> {
        Err(EngineError::Checkpoint(
            "the QEMU engine cannot go back to one; use --engine kvm",
        ))
    }

    fn rom(&self) -> Vec<u8> {
        self.rom.bytes.clone()
    }

    fn break_rom(&mut self, at: Option<u16>) {
        self.rom.break_at(at);
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Running {
    fn run(
        &mut self,
        slots: &mut [Slot],
        memory: &GuestMemory,
        hang_limit: Duration,
        leave: Option<&AtomicBool>,
    ) -> Result<Stop, EngineError> {
        if let Some(stop) = self.stops.pop_front() {
            return Ok(stop);
        }
        self.tell_changes(slots)?;
        self.answers.publish(slots, memory);
        self.process.resume();
        let began = self.process.cpu_time();
        let mut looked = began;
        let mut idle_looks = 0;
        loop {
            if leave.is_some_and(|leave| leave.load(Ordering::Relaxed)) {
                return Ok(Stop::Halted);
            }
            let events = self.attend(slots, Some(&LOOK))?;
            if let Some(stop) = self.stops.pop_front() {
                return Ok(stop);
            }
            if events {
                continue;
            }
            let now = self.process.cpu_time();
            if now.saturating_sub(began) > hang_limit {
                let report = self.ask_and_attend("info registers", slots)?;
                let cause = "no device access within the hang limit";
                return Ok(Stop::Hung(crash_report(&report, cause)));
            }
            if now != std::mem::replace(&mut looked, now) {
                idle_looks = 0;
                continue;
            }
            if hang_limit == Duration::MAX {
                continue;
            }
            let registers = self.ask_and_attend("info registers", slots)?;
            if is_halted(&registers) {
                return Ok(Stop::Halted);
            }
            idle_looks += 1;
            if idle_looks > MOST_IDLE_LOOKS {
                return Ok(Stop::Hung(crash_report(
                    &registers,
                    "QEMU runs no guest code",
                )));
            }
        }
    }

    fn run_freely(&mut self, slots: &mut [Slot], patience: Duration) -> Result<Stop, EngineError> {
        for slot in std::mem::take(&mut self.to_tell) {
            if let (Some(Some(connection)), true) = (
                self.devices.get_mut(slot),
                slots.get(slot).is_some_and(|slot| slot.live),
            ) {
                let told = connection.tell_config_changed(false);
                told.map_err(|lost| self.gone(&format!("slot {slot}: {lost}")))?;
            }
        }
        if self.stops.is_empty() {
            let limit = Timespec {
                tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: patience.subsec_nanos().into(),
            };
            self.attend(slots, Some(&limit))?;
        }
        Ok(self.stops.pop_front().unwrap_or(Stop::Quiet))
    }

    /// Waits until QEMU says something, at most for `limit`, and handles all of it. False: it said
    /// nothing.
    fn attend(
        &mut self,
        slots: &mut [Slot],
        limit: Option<&Timespec>,
    ) -> Result<bool, EngineError> {
        let heard = self.listen(slots, limit)?;
        if heard.notified.is_some() {
            // What was said before the notification was sent counts before it, and may be read only now.
            while self.listen(slots, Some(&Timespec::default()))?.anything {}
        }
        if let Some((slot, queue)) = heard.notified {
            self.stops.push_back(Stop::Notified { slot, queue });
        }
        Ok(heard.anything)
    }

    fn listen(
        &mut self,
        slots: &mut [Slot],
        limit: Option<&Timespec>,
    ) -> Result<Heard, EngineError> {
        let mut sources = vec![Source::Monitor, Source::Serial];
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.monitor.socket(), PollFlags::IN),
            PollFd::new(&self.serial, PollFlags::IN),
        ];
        for (slot, connection) in self.devices.iter().enumerate() {
            let Some(connection) = connection else {
                continue;
            };
            sources.push(Source::Messages(slot));
            fds.push(PollFd::from_borrowed_fd(connection.socket(), PollFlags::IN));
            if let Some(notices) = connection.notices() {
                sources.push(Source::Notices(slot));
                fds.push(PollFd::from_borrowed_fd(notices, PollFlags::IN));
            }
            if !slots.get(slot).is_some_and(|slot| slot.face.wants_notify) {
                // The driver need not notify; what it has is looked at when the board waits.
                continue;
            }
            for (queue, kick) in connection.kicks() {
                sources.push(Source::Kick(slot, queue));
                fds.push(PollFd::from_borrowed_fd(kick, PollFlags::IN));
            }
        }
        match poll(&mut fds, limit) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(cannot("be waited for")(error.into())),
        }
        let ready: Vec<Source> = sources
            .into_iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|(source, _)| source)
            .collect();
        drop(fds);
        let mut heard = Heard::default();
        for source in ready {
            heard.anything = true;
            match source {
                Source::Monitor => self.hear_monitor(slots)?,
                Source::Serial => self.hear_serial(),
                Source::Messages(slot) => self.hear_device(slot, slots)?,
                Source::Notices(slot) => {
                    if let Some(Some(connection)) = self.devices.get_mut(slot) {
                        let heard = connection.hear_notices();
                        heard.map_err(|lost| self.gone(&format!("slot {slot}: {lost}")))?;
                    }
                }
                Source::Kick(slot, queue) => {
                    if let Some(Some(connection)) = self.devices.get(slot) {
                        connection.take_kick(queue);
                    }
                    heard.notified = Some((slot, queue));
                }
            }
        }
        Ok(heard)
    }

    fn hear_monitor(&mut self, slots: &mut [Slot]) -> Result<(), EngineError> {
        for said in self.monitor.listen() {
            match said {
                Said::Shutdown { by_guest_reset } if !self.clocked => {
                    let stop = match by_guest_reset {
                        true => Stop::WantsReset,
                        false => Stop::Halted,
                    };
                    self.stops.push_back(stop);
                }
                Said::Shutdown { .. } => {
                    let listing = self.ask_and_attend("info registers", slots)?;
                    let report = crash_report(&listing, "triple fault");
                    self.stops.push_back(Stop::Crashed(report));
                }
                Said::Gone => return Err(self.gone("QEMU ended")),
                Said::Answer(_) | Said::Nothing => {}
            }
        }
        Ok(())
    }

    fn hear_serial(&mut self) {
        let mut bytes = [0; 1024];
        // Nothing to read, or nobody there: the monitor tells what happened to QEMU.
        if let Ok(n) = self.serial.read(&mut bytes) {
            let printed = bytes.get(..n).unwrap_or_default();
            if !printed.is_empty() {
                self.stops.push_back(Stop::Printed(printed.to_vec()));
            }
        }
    }

    fn hear_device(&mut self, index: usize, slots: &mut [Slot]) -> Result<(), EngineError> {
        let (Some(Some(connection)), Some(slot)) =
            (self.devices.get_mut(index), slots.get_mut(index))
        else {
            return Ok(());
        };
        // A question to the monitor may have had it handled since it was heard.
        let waiting = connection.waiting().map_err(cannot("be heard"))?;
        if matches!(waiting, Waiting::Nothing | Waiting::Incomplete) {
            return Ok(());
        }
        let handled = connection.handle(slot);
        if self.clocked && slot.face.wants_notify {
            self.answers.keep_back(slot, connection.memory());
        }
        handled.map_err(|lost| self.gone(&format!("slot {index}: {lost}")))
    }

    /// Asks the human monitor something, and serves devices until it answers: QEMU may need one first.
    fn ask_and_attend(
        &mut self,
        question: &str,
        slots: &mut [Slot],
    ) -> Result<String, EngineError> {
        self.monitor
            .ask_human(question)
            .map_err(cannot("be asked"))?;
        loop {
            let mut sources = vec![usize::MAX];
            let mut fds = vec![PollFd::from_borrowed_fd(
                self.monitor.socket(),
                PollFlags::IN,
            )];
            for (slot, connection) in self.devices.iter().enumerate() {
                if let Some(connection) = connection {
                    sources.push(slot);
                    fds.push(PollFd::from_borrowed_fd(connection.socket(), PollFlags::IN));
                }
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(cannot("be waited for")(error.into())),
            }
            let ready: Vec<usize> = sources
                .into_iter()
                .zip(&fds)
                .filter(|(_, fd)| !fd.revents().is_empty())
                .map(|(source, _)| source)
                .collect();
            drop(fds);
            for source in ready {
                if source != usize::MAX {
                    self.hear_device(source, slots)?;
                    continue;
                }
                for said in self.monitor.listen() {
                    match said {
                        Said::Answer(Value::String(text)) => return Ok(text),
                        Said::Gone => return Err(self.gone("QEMU ended")),
                        Said::Answer(_) | Said::Shutdown { .. } | Said::Nothing => {}
                    }
                }
            }
        }
    }

    /// Tells front-ends of configuration spaces that changed, and returns when their guest can no longer
    /// read the old ones. For that QEMU must run, and with it the CPU, which still waits for its answer.
    fn tell_changes(&mut self, slots: &mut [Slot]) -> Result<(), EngineError> {
        if self.to_tell.is_empty() {
            return Ok(());
        }
        self.process.resume();
        for slot in std::mem::take(&mut self.to_tell) {
            // QEMU dies of a change of a device that no driver has started; there is nobody to hear of it either.
            if !slots.get(slot).is_some_and(|slot| slot.live) {
                continue;
            }
            if let Some(Some(connection)) = self.devices.get_mut(slot) {
                let told = connection.tell_config_changed(true);
                told.map_err(|lost| self.gone(&format!("slot {slot}: {lost}")))?;
            }
        }
        while self
            .devices
            .iter()
            .flatten()
            .any(|device| device.notices().is_some())
        {
            self.attend(slots, None)?;
        }
        Ok(())
    }

    fn gone(&mut self, what: &str) -> EngineError {
        let message = self.process.last_message();
        EngineError::Qemu {
            what: "go on",
            why: if message.is_empty() {
                what.to_owned()
            } else {
                format!("{what}: {message}")
            },
        }
    }
}

/// Where something can come from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Monitor,
    Serial,
    Messages(usize),
    Notices(usize),
    Kick(usize, u32),
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    anything: bool,
    notified: Option<(usize, u32)>,
}

impl Rom {
    fn new(image: &[u8]) -> Result<Rom, EngineError> {
        let empty = ROM_BYTES
            .checked_sub(image.len())
            .ok_or(EngineError::RomSize(image.len()))?;
        let mut bytes = vec![0xff; empty];
        bytes.extend_from_slice(image);
        let file = rustix::fs::memfd_create("boot-rom", MemfdFlags::CLOEXEC)
            .map_err(|error| cannot("be given a ROM")(error.into()))?;
        let mut rom = Rom {
            file: File::from(file),
            bytes,
            broken: None,
        };
        rom.write()?;
        Ok(rom)
    }

    fn write(&mut self) -> Result<(), EngineError> {
        use std::os::unix::fs::FileExt;
        let written = self.file.write_all_at(&self.bytes, 0);
        written.map_err(cannot("be given a ROM"))
    }

    fn break_at(&mut self, at: Option<u16>) {
        let before = std::mem::replace(&mut self.broken, at);
        for at in before.into_iter().chain(at) {
            // An odd number of flips is one.
            if let Some(byte) = self.bytes.get_mut(usize::from(at)) {
                *byte ^= 1;
            }
        }
        // Memory of our own: it cannot fail for a file that has its size already.
        let _ = self.write();
    }
}
