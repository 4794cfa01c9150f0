use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use arbitrary::Arbitrary;
use devices::block::BlockVirtio;
use devices::board_control::{BoardControl, BoardControlCore, BoardControlVirtio, BoardIdentity};
use devices::event::DeviceEvent;
use devices::medium::Medium;
use devices::midplane::Midplane;
use devices::network::{PortSettings, PortVirtio, Segment};
use devices::shelf::{DiskTiming, Level, Shelf, ShelfSettings};
use devices::time::Nanos;
use emulator::serve::Hardware;
use emulator::service::Visit;

use crate::front::{Front, Step};

/// What the front-end is before: requests that take a while, one that nothing ends, two rings.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Device {
    Shelf,
    BoardControl,
    Network,
}

/// Turns of the server in which it can have dealt with all that one step sent.
const TURNS_A_STEP: usize = 40;
const MOMENT: Nanos = Nanos::from_micros(100);

/// One device of each kind, one of which is served, and the front-end that it is served to.
pub struct Served {
    device: Device,
    shelf: (BlockVirtio<Shelf>, Shelf),
    board: (BoardControlVirtio, BoardControl, Midplane),
    network: (PortVirtio, Segment),
    front: Front,
    steps: std::vec::IntoIter<Step>,
    /// Turns after the last step, and how many of them there may be.
    last_turns: usize,
    most_last_turns: usize,
    /// Something to read for ever: each turn of the server is one of the front-end's.
    turns: (UnixStream, UnixStream),
    stop: UnixStream,
}

impl Served {
    /// Plays `steps`, and writes to `stop` at their end.
    pub fn new(device: Device, front: Front, steps: Vec<Step>, stop: UnixStream) -> Served {
        let settings = ShelfSettings {
            level: Level::One,
            chunk_bytes: 4096,
            cache_bytes: 0,
            timing: DiskTiming {
                read: MOMENT,
                write: MOMENT,
                byte: Nanos(1),
                cache: MOMENT,
            },
            regions: Vec::new(),
            array_id: 1,
        };
        let disks = vec![Medium::memory(1 << 20, 0), Medium::memory(1 << 20, 0)];
        let mut shelf = Shelf::create(settings, disks, Vec::new()).expect("two disks are a mirror");
        shelf.power_on(Nanos::ZERO, &mut Vec::new());
        let board = BoardControl::new(BoardIdentity::default());
        let mut segment = Segment::new(2, PortSettings::default());
        segment.set_powered(0, true);
        segment.set_powered(1, true);
        let turns = UnixStream::pair().expect("a pair of sockets can be had");
        rustix::io::write(&turns.0, &[0]).expect("there is room for a byte");
        Served {
            device,
            shelf: (BlockVirtio::new(0), shelf),
            board: (BoardControlVirtio::default(), board, Midplane::new(1, 0)),
            network: (PortVirtio::new(0, [2, 0, 0, 0, 0, 1]), segment),
            front,
            last_turns: 0,
            most_last_turns: TURNS_A_STEP * (steps.len() + 2),
            steps: steps.into_iter(),
            turns,
            stop,
        }
    }
}

impl Hardware for Served {
    fn with<V: Visit>(&mut self, _port: usize, visit: V) -> V::Answer {
        match self.device {
            Device::Shelf => visit.visit(&mut self.shelf.0, &mut &mut self.shelf.1),
            Device::BoardControl => {
                let (device, board, midplane) = &mut self.board;
                visit.visit(device, &mut BoardControlCore { board, midplane })
            }
            Device::Network => visit.visit(&mut self.network.0, &mut &mut self.network.1),
        }
    }

    fn advance(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        self.shelf.1.advance(now, events);
    }

    fn deadline(&self) -> Option<Nanos> {
        self.shelf.1.deadline()
    }

    fn heard(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>, _news: &mut Vec<String>) {
        events.clear();
        // Somebody sends frames of all lengths.
        if let Device::Network = self.device {
            let mut frame = vec![0xff; 64];
            frame.resize(14 + usize::try_from(now.0 % 1500).unwrap_or(0), 7);
            self.network.1.send(now, 1, &frame);
        }
    }

    fn command(
        &mut self,
        _now: Nanos,
        _command: &str,
        _news: &mut Vec<String>,
    ) -> Result<String, String> {
        Ok(String::new())
    }

    fn outside(&self) -> Option<BorrowedFd<'_>> {
        Some(self.turns.1.as_fd())
    }

    fn hear_outside(&mut self, _now: Nanos, _news: &mut Vec<String>) {
        if let Some(step) = self.steps.next() {
            return self.front.take(step);
        }
        // Whatever was done, whoever comes now is answered.
        self.last_turns += 1;
        if self.last_turns == 1 {
            self.front.begin_again();
        }
        if self.front.is_answered() {
            rustix::io::write(&self.stop, &[0]).expect("the server listens");
        }
        let answers = self.last_turns < self.most_last_turns;
        assert!(answers, "nobody is served any more");
    }

    fn put_away(&mut self, _now: Nanos) {}
}
