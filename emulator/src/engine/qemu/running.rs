use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use devices::virtio::GuestMemory;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use super::answers::Answers;
use super::cannot;
use super::monitor::{Monitor, Said, crash_report, is_halted};
use super::process::Process;
use crate::engine::{EngineError, Stop};
use crate::slot::{Face, Slot};
use crate::vhost_user::{Connection, Waiting};

/// How long QEMU may be silent before it is looked at whether its CPU still runs.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Looks at a CPU that uses no time and is not halted, after which it counts as hung: a minute.
const MOST_IDLE_LOOKS: u32 = 600;

/// One boot of a board. The process ends first: it has the memory mapped and the other ends.
pub(super) struct Running {
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

impl Running {
    /// A QEMU that was started just now, with what its devices' front-ends say going to `devices`.
    pub(super) fn new(
        process: Process,
        monitor: UnixStream,
        serial: UnixStream,
        devices: Vec<Option<Connection>>,
        clocked: bool,
    ) -> Result<Running, EngineError> {
        serial
            .set_nonblocking(true)
            .map_err(cannot("be connected with"))?;
        Ok(Running {
            process,
            monitor: Monitor::new(monitor).map_err(cannot("be asked"))?,
            serial,
            devices,
            clocked,
            stops: VecDeque::new(),
            to_tell: Vec::new(),
            answers: Answers::default(),
        })
    }

    /// Raises the interrupt of a queue.
    pub(super) fn interrupt(&self, slot: usize, queue: usize) {
        if let Some(Some(connection)) = self.devices.get(slot) {
            connection.call(queue);
        }
    }

    /// Types on the serial port; returns how much of it there was room for.
    pub(super) fn type_bytes(&mut self, bytes: &[u8]) -> usize {
        self.serial.write(bytes).unwrap_or(0)
    }

    /// Stops the child, which has nothing to do but to wait.
    pub(super) fn pause(&mut self) {
        self.process.pause();
    }

    /// Lets a device's front-end see what it may of `face`.
    pub(super) fn refresh(&mut self, index: usize, face: &Face) {
        if let Some(Some(connection)) = self.devices.get_mut(index)
            && connection.show(face)
            && !self.to_tell.contains(&index)
        {
            self.to_tell.push(index);
        }
    }

    pub(super) fn run(
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

    pub(super) fn run_freely(
        &mut self,
        slots: &mut [Slot],
        patience: Duration,
    ) -> Result<Stop, EngineError> {
        self.announce(slots, false)?;
        if self.stops.is_empty() {
            let limit = Timespec::try_from(patience).ok();
            self.attend(slots, limit.as_ref())?;
        }
        Ok(self.stops.pop_front().unwrap_or(Stop::Quiet))
    }

    /// Waits until QEMU says something, at most for `limit`, and handles all of it. False: it said
    /// nothing.
    pub(super) fn attend(
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
        let mut waited = vec![
            (Source::Monitor, self.monitor.socket()),
            (Source::Serial, self.serial.as_fd()),
        ];
        waited.extend(self.messages());
        for (slot, connection) in connections(&self.devices) {
            let notices = connection.notices();
            waited.extend(notices.map(|notices| (Source::Notices(slot), notices)));
            // A driver need not notify other slots; what it has is looked at when the board waits.
            if slots.get(slot).is_some_and(|slot| slot.face.wants_notify) {
                let kicks = connection.kicks();
                waited.extend(kicks.map(|(queue, kick)| (Source::Kick(slot, queue), kick)));
            }
        }
        let ready = ready(&waited, limit)?;
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
            let mut waited = vec![(Source::Monitor, self.monitor.socket())];
            waited.extend(self.messages());
            for source in ready(&waited, None)? {
                if let Source::Messages(slot) = source {
                    self.hear_device(slot, slots)?;
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
        self.announce(slots, true)?;
        while connections(&self.devices).any(|(_, device)| device.notices().is_some()) {
            self.attend(slots, None)?;
        }
        Ok(())
    }

    /// Sends word of every configuration space that changed. QEMU dies of a change of a device that no driver
    /// has started; there is nobody to hear of it either.
    fn announce(&mut self, slots: &[Slot], acknowledged: bool) -> Result<(), EngineError> {
        for index in std::mem::take(&mut self.to_tell) {
            let live = slots.get(index).is_some_and(|slot| slot.live);
            if let (Some(Some(connection)), true) = (self.devices.get_mut(index), live) {
                let told = connection.tell_config_changed(acknowledged);
                told.map_err(|lost| self.gone(&format!("slot {index}: {lost}")))?;
            }
        }
        Ok(())
    }

    /// What the front-ends of all devices send messages on.
    fn messages(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
        connections(&self.devices)
            .map(|(slot, connection)| (Source::Messages(slot), connection.socket()))
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

fn connections(devices: &[Option<Connection>]) -> impl Iterator<Item = (usize, &Connection)> {
    let numbered = devices.iter().enumerate();
    numbered.filter_map(|(slot, connection)| Some((slot, connection.as_ref()?)))
}

/// Waits until one of them has something to read, and says which have.
fn ready(
    waited: &[(Source, BorrowedFd<'_>)],
    limit: Option<&Timespec>,
) -> Result<Vec<Source>, EngineError> {
    let polled = waited.iter();
    let mut polled: Vec<PollFd<'_>> = polled
        .map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    match poll(&mut polled, limit) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(cannot("be waited for")(error.into())),
    }
    let answered = waited.iter().zip(&polled);
    Ok(answered
        .filter(|(_, fd)| !fd.revents().is_empty())
        .map(|((source, _), _)| *source)
        .collect())
}
