use std::io;
use std::os::fd::BorrowedFd;

use devices::event::DeviceEvent;
use devices::time::Nanos;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::control::{self, Control};
use super::hardware::Hardware;
use super::port::{self, Heard, Port};

/// Services in a row before the sockets are looked at again.
const ROUNDS: usize = 64;
/// How often it is looked whether the rest of a message came.
const HALFWAY: Nanos = Nanos::from_millis(10);
/// How long a queue that is to stop may take to answer what it has. What takes longer is kept.
const SETTLE: Nanos = Nanos::from_secs(2);
/// Looks at the rings between two looks at everything else, while polling busily.
const SPINS: usize = 500;

const HELP: &str = "\
help                     this
events                   tells what happens, a line each, until you leave
status                   how device and front-end are";

/// How the device's time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As the clock's.
    Real,
    /// The same, but nothing is waited for: the time leaps to when it happens.
    Leap,
}

/// How to serve.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How the device's time goes.
    pub pace: Pace,
    /// How long to look at the rings again and again before waiting for a notification.
    pub poll: Nanos,
}

/// The loop that serves a device. See the module.
pub struct Server<'a, H> {
    hardware: H,
    help: &'a str,
    ports: Vec<Port>,
    control: Option<Control>,
    settings: Settings,
    clock: &'a dyn Fn() -> Nanos,
    /// What the device's time is ahead of the clock's.
    ahead: Nanos,
    /// Where the device's time is, while it leaps.
    leaping: Option<Nanos>,
    tell: &'a mut dyn FnMut(&str),
    events: Vec<DeviceEvent>,
    news: Vec<String>,
    /// When there was something to do last.
    busy_at: Nanos,
}

impl<H> std::fmt::Debug for Server<'_, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("ports", &self.ports)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Who may have something to say.
#[derive(Clone, Copy, Debug)]
enum Source {
    Stop,
    Outside,
    Port(usize, port::Ear),
    Control(control::Ear),
}

impl<'a, H: Hardware> Server<'a, H> {
    /// Serves `hardware` at `ports`. `clock` is monotonic; `tell` is told what happens, and `help` tells of
    /// the commands that the hardware knows.
    pub fn new(
        hardware: H,
        help: &'a str,
        ports: Vec<Port>,
        control: Option<Control>,
        settings: Settings,
        clock: &'a dyn Fn() -> Nanos,
        tell: &'a mut dyn FnMut(&str),
    ) -> Self {
        Server {
            hardware,
            help,
            ports,
            control,
            settings,
            clock,
            ahead: Nanos::ZERO,
            leaping: None,
            tell,
            events: Vec::new(),
            news: Vec::new(),
            busy_at: Nanos::ZERO,
        }
    }

    /// Serves until `stop` has something to read, and puts the hardware away.
    ///
    /// # Errors
    /// The host cannot wait for descriptors.
    pub fn run(&mut self, stop: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            let deadline = self.serve();
            self.tell_news();
            let patience = match deadline {
                Some(Deadline::Now) => Some(Nanos::ZERO),
                _ if self.spin() => Some(Nanos::ZERO),
                Some(Deadline::At(at)) => Some(at.saturating_sub(self.now())),
                None => None,
            };
            let halfway = self.ports.iter().any(Port::is_halfway).then_some(HALFWAY);
            let patience = patience.into_iter().chain(halfway).min();
            let waits = patience != Some(Nanos::ZERO);
            if waits && self.want_kicks(true) {
                continue;
            }
            let heard = self.listen(stop, patience)?;
            self.want_kicks(false);
            // Whoever asks something after a front-end has said or put on a ring something is answered after that. What a
            // front-end says is taken one message at a time; until it has finished, the others stay to be heard.
            let speaks = |source: &Source| {
                let ear = [port::Ear::Messages, port::Ear::Listener];
                matches!(source, Source::Port(_, it) if ear.contains(it))
            };
            let is_spoken_to = heard.iter().any(speaks);
            for source in heard {
                match source {
                    Source::Stop => {
                        let now = self.now();
                        self.hardware.put_away(now);
                        return Ok(());
                    }
                    Source::Control(control::Ear::Client(_)) if is_spoken_to => continue,
                    Source::Control(control::Ear::Client(_)) => {
                        self.serve();
                    }
                    _ => {}
                }
                self.hear(source);
            }
            if halfway.is_some() {
                for index in 0..self.ports.len() {
                    self.hear(Source::Port(index, port::Ear::Messages));
                }
            }
        }
    }

    /// The device's time.
    fn now(&self) -> Nanos {
        (self.clock)() + self.ahead
    }

    /// Has the device do all there is to do now; says when there is more.
    fn serve(&mut self) -> Option<Deadline> {
        // Where time leaps, it goes from one thing to the next and passes over none, however long the host takes.
        let mut now = self.leaping.take().unwrap_or_else(|| self.now());
        for _ in 0..ROUNDS {
            let mut again = false;
            self.hardware.advance(now, &mut self.events);
            for port in &mut self.ports {
                again |= port.serve(&mut self.hardware, now, &mut self.events, &mut self.news);
            }
            self.hear_events(now);
            if again {
                self.busy_at = now;
                continue;
            }
            let Some(next) = self.next_deadline() else {
                self.pass(now);
                return None;
            };
            if next > now && self.settings.pace == Pace::Real {
                return Some(Deadline::At(next));
            }
            now = now.max(next);
        }
        if self.settings.pace == Pace::Leap {
            self.leaping = Some(now);
        }
        self.pass(now);
        Some(Deadline::Now)
    }

    /// When a port or the hardware itself has something to do.
    fn next_deadline(&mut self) -> Option<Nanos> {
        let hardware = &mut self.hardware;
        let own = hardware.deadline();
        let ports = self.ports.iter();
        let ports = ports.filter_map(|port| port.deadline(hardware));
        ports.chain(own).min()
    }

    /// The device's time is `now`, and never before it again.
    fn pass(&mut self, now: Nanos) {
        self.ahead = self.ahead.max(now.saturating_sub((self.clock)()));
    }

    /// Looks at the rings for a while. True where there is something, or it is to be looked again.
    fn spin(&mut self) -> bool {
        if self.settings.poll == Nanos::ZERO {
            return false;
        }
        for _ in 0..SPINS {
            if self.ports.iter().any(Port::has_news) {
                self.busy_at = self.now();
                return true;
            }
            std::hint::spin_loop();
        }
        self.now() < self.busy_at + self.settings.poll
    }

    fn want_kicks(&mut self, wanted: bool) -> bool {
        let ports = self.ports.iter_mut();
        // All of them, not only up to the first that has something.
        ports.fold(false, |news, port| port.want_kicks(wanted) | news)
    }

    fn listen(&self, stop: BorrowedFd<'_>, patience: Option<Nanos>) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Stop];
        let mut fds = vec![PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        if let Some(outside) = self.hardware.outside() {
            sources.push(Source::Outside);
            fds.push(PollFd::from_borrowed_fd(outside, PollFlags::IN));
        }
        for (index, port) in self.ports.iter().enumerate() {
            port.ears(&mut |ear, fd| {
                sources.push(Source::Port(index, ear));
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            });
        }
        if let Some(control) = &self.control {
            control.ears(&mut |ear, fd, sends| {
                sources.push(Source::Control(ear));
                let flags = match sends {
                    true => PollFlags::IN | PollFlags::OUT,
                    false => PollFlags::IN,
                };
                fds.push(PollFd::from_borrowed_fd(fd, flags));
            });
        }
        let timeout = patience.map(|span| Timespec {
            tv_sec: i64::try_from(span.0 / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(span.0 % 1_000_000_000).unwrap_or(0),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = sources.into_iter().zip(&fds);
        let ready = ready.filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(source, _)| source).collect())
    }

    fn hear(&mut self, source: Source) {
        match source {
            Source::Stop => {}
            Source::Outside => {
                let now = self.now();
                self.hardware.hear_outside(now, &mut self.news);
            }
            Source::Port(index, ear) => self.hear_port(index, ear),
            Source::Control(control::Ear::Listener) => {
                if let Some(control) = &mut self.control {
                    control.accept();
                }
            }
            Source::Control(control::Ear::Client(client)) => {
                let control = self.control.as_mut();
                for line in control.map(|it| it.read(client)).unwrap_or_default() {
                    self.obey(client, &line);
                }
            }
        }
    }

    fn hear_port(&mut self, index: usize, ear: port::Ear) {
        let now = self.now();
        let real = (self.clock)();
        let Some(port) = self.ports.get_mut(index) else {
            return;
        };
        let lost = match ear {
            // A front-end that left makes room for the one that comes.
            port::Ear::Listener if port.has_been_left() => Some("disconnected".to_owned()),
            port::Ear::Listener => {
                port.accept(&mut self.hardware, &mut self.news);
                None
            }
            port::Ear::Kick(queue) => {
                port.take_kick(queue, &mut self.news);
                None
            }
            port::Ear::Notices => port.hear_notices().err().map(|lost| lost.what),
            port::Ear::Messages => match port.messages(real) {
                Heard::Nothing => None,
                Heard::Message => self.handle(index),
                Heard::Stop(queue) => {
                    self.settle(index, queue);
                    self.handle(index)
                }
                Heard::Lost(what) => Some(what),
            },
        };
        let Some(what) = lost else {
            return;
        };
        if let Some(port) = self.ports.get_mut(index) {
            port.disconnect(&mut self.hardware, now);
        }
        self.news.push(format!("front-end-gone cause={what:?}"));
    }

    fn handle(&mut self, index: usize) -> Option<String> {
        let lost = self.ports.get_mut(index)?.handle().err()?;
        Some(match lost.orderly {
            true => "disconnected".to_owned(),
            false => lost.what,
        })
    }

    /// Has the device answer what it took from a queue that is about to stop ("the back-end must complete all in-flight
    /// I/O requests", vhost-user on GET_VRING_BASE). What has no end in sight is kept: the ring has it when it goes on.
    fn settle(&mut self, index: usize, queue: usize) {
        let limit = (self.clock)() + SETTLE;
        let mut now = self.leaping.take().unwrap_or_else(|| self.now());
        let port = self.ports.get_mut(index);
        if !port.is_some_and(|port| port.hold_back(queue)) {
            return;
        }
        while let Some(port) = self.ports.get_mut(index) {
            self.hardware.advance(now, &mut self.events);
            port.serve(&mut self.hardware, now, &mut self.events, &mut self.news);
            let left = port.in_flight(&mut self.hardware, queue);
            self.hear_events(now);
            if left == 0 {
                break;
            }
            let patience = limit.saturating_sub((self.clock)());
            let next = self.next_deadline();
            let in_time = |next: &Nanos| match self.settings.pace {
                Pace::Leap => patience > Nanos::ZERO,
                Pace::Real => next.saturating_sub(now) < patience,
            };
            let Some(next) = next.filter(in_time) else {
                let line = format!("requests-kept queue={queue} requests={left}");
                self.news.push(line);
                break;
            };
            now = match self.settings.pace {
                Pace::Leap => now.max(next),
                Pace::Real => {
                    let span = next.saturating_sub(self.now()).min(HALFWAY);
                    let span = Timespec {
                        tv_sec: 0,
                        tv_nsec: i64::try_from(span.0).unwrap_or(0),
                    };
                    // Nothing but the device's time is waited for.
                    let _ = poll(&mut [], Some(&span));
                    self.now()
                }
            };
        }
        self.pass(now);
    }

    fn hear_events(&mut self, now: Nanos) {
        self.hardware.heard(now, &mut self.events, &mut self.news);
        self.events.clear();
    }

    fn tell_news(&mut self) {
        if self.ports.iter().any(Port::lost_memory) {
            self.news.push("memory-taken-away".to_owned());
        }
        for line in self.news.drain(..) {
            (self.tell)(&line);
            if let Some(control) = &mut self.control {
                control.announce(&line);
            }
        }
    }

    fn obey(&mut self, client: u64, line: &str) {
        let answer = match line {
            "" => return,
            "help" => {
                let lines = format!("{HELP}\n{}", self.help.trim_end());
                if let Some(control) = &mut self.control {
                    control.tell(client, &lines);
                }
                Ok(String::new())
            }
            "events" => {
                if let Some(control) = &mut self.control {
                    control.subscribe(client);
                }
                Ok(String::new())
            }
            command => {
                let now = self.now();
                let mut answer = self.hardware.command(now, command, &mut self.news);
                if let ("status", Ok(text)) = (command, &mut answer) {
                    for port in &self.ports {
                        text.push_str(&format!("; {}", port.status()));
                    }
                }
                answer
            }
        };
        for port in &mut self.ports {
            port.refresh(&mut self.hardware, &mut self.news);
        }
        if let Some(control) = &mut self.control {
            control.answer(client, &answer);
        }
    }
}

/// When there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deadline {
    Now,
    At(Nanos),
}
