//! Rings that stop and go on, as they do when a machine is stopped, with requests that have no answer yet.

use vhost::vhost_user::Frontend;

use crate::client::{BUFFERS, Guest};
use crate::kinds::{out, room};
use crate::server::{Server, alone};

const SECOND_NS: u64 = 1_000_000_000;
/// No request of board control takes longer than its ring may take to stop, but this one.
const WAIT_NS: u64 = 4 * SECOND_NS;

/// A request of board control (board manual §5.3) in buffers of its own.
fn ask(guest: &mut Guest, number: u16, op: u32, arg: u32, value: u64, text: &[u8]) {
    let at = BUFFERS + 0x1000 * u64::from(number);
    guest.put(at, op);
    guest.put(at + 4, arg);
    guest.put(at + 8, value);
    guest.write(at + 16, text);
    let parts = [out(at, 16 + text.len()), room(at + 0x800, 24)];
    guest.submit(0, 2 * number, &parts);
}

/// Asks for the time, as request `number`; the server's clock.
fn clock(guest: &mut Guest, number: u16) -> u64 {
    ask(guest, number, 6, 0, 0, b"");
    assert_eq!(guest.wait(0, 1), [(2 * number, 24)]);
    guest.get(BUFFERS + 0x1000 * u64::from(number) + 0x800 + 16)
}

struct Board {
    folder: tempfile::TempDir,
    server: Server,
    guest: Guest,
    frontend: Frontend,
}

impl Board {
    fn new(tracks: bool) -> Board {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), "board-control");
        let mut guest = Guest::new(1, 64);
        guest.tracks = tracks;
        let frontend = guest.connect(&server.socket());
        Board {
            folder,
            server,
            guest,
            frontend,
        }
    }

    /// Asks to WAIT, and sees that it was taken.
    fn wait(&mut self, until: u64) {
        ask(&mut self.guest, 9, 1, 0, until, b"");
        let status = self.server.control("status");
        assert!(status.contains("; waits;"), "{status}");
        assert!(!self.guest.tracks || self.guest.in_flight() == 1);
    }

    fn pause(&mut self) -> u16 {
        let base = self.guest.stop(&mut self.frontend, 0);
        self.guest.start_at(&mut self.frontend, 0, base);
        base
    }

    /// The WAIT, and what comes after it, is answered, each once.
    fn ends(mut self) {
        assert_eq!(self.guest.wait(0, 1), [(18, 24)]);
        clock(&mut self.guest, 3);
        assert_eq!(self.guest.answers(0), []);
        assert!(!self.guest.tracks || self.guest.in_flight() == 0);
        drop(self.frontend);
        let told = self.server.end();
        let kept = "requests-kept queue=0 requests=1";
        assert!(told.contains(kept), "{told}");
    }
}

#[test]
fn a_wait_is_answered_once_however_often_its_ring_stops() {
    let _alone = alone();
    let mut boards = Vec::new();
    for tracks in [true, false] {
        // It is the very first, and nothing says how far the driver is.
        let mut board = Board::new(tracks);
        board.wait(2 * WAIT_NS);
        assert_eq!((board.pause(), board.pause()), (0, 0));
        boards.push(board);

        // Everything before it is answered.
        let mut board = Board::new(tracks);
        let now = clock(&mut board.guest, 0);
        board.wait(now + WAIT_NS);
        assert_eq!((board.pause(), board.pause()), (1, 1));
        clock(&mut board.guest, 1);
        boards.push(board);

        // Something after it is answered: no base says that.
        let mut board = Board::new(tracks);
        let now = clock(&mut board.guest, 0);
        board.wait(now + WAIT_NS);
        clock(&mut board.guest, 1);
        assert_eq!((board.pause(), board.pause()), (3, 3));
        clock(&mut board.guest, 2);
        boards.push(board);
    }
    boards.into_iter().for_each(Board::ends);
}

#[test]
fn another_back_end_takes_over_what_a_stopped_ring_left() {
    let _alone = alone();
    for tracks in [true, false] {
        let mut board = Board::new(tracks);
        let now = clock(&mut board.guest, 0);
        board.wait(now + 3600 * SECOND_NS);
        let base = board.guest.stop(&mut board.frontend, 0);
        drop(board.frontend);
        board.server.kill();
        let server = Server::start(board.folder.path(), "board-control");
        let guest = &mut board.guest;
        // For the time of the server that comes, this is over at once.
        guest.put(BUFFERS + 0x9000 + 8, 1_u64);
        let mut frontend = guest.negotiate(&server.socket());
        guest.start_at(&mut frontend, 0, base);
        assert_eq!(guest.wait(0, 1), [(18, 24)]);
        clock(guest, 1);
        assert_eq!(guest.answers(0), []);
        server.end();
    }
}

#[test]
fn a_driver_that_begins_anew_finds_nothing_of_the_one_before() {
    let _alone = alone();
    let mut board = Board::new(false);
    board.wait(3600 * SECOND_NS);
    assert_eq!(board.guest.stop(&mut board.frontend, 0), 0);
    board.guest.forget_rings();
    board.guest.start_at(&mut board.frontend, 0, 0);
    clock(&mut board.guest, 0);
    assert!(board.server.control("status").contains("does not wait"));
    board.server.end();
}

#[test]
fn a_receive_buffer_stays_where_its_ring_stopped() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "network --peer-socket t");
    let (mut here, mut there) = (Guest::new(2, 64), Guest::new(2, 64));
    there.tracks = false;
    let _first = here.connect(&server.socket());
    let mut frontend = there.connect(&folder.path().join("t"));
    let mut send = |number: u16, bytes: usize| {
        let mut frame = vec![0; 12];
        frame.extend([0xff; 6]);
        frame.resize(12 + bytes, 7);
        here.write(BUFFERS, &frame);
        here.submit(1, number, &[out(BUFFERS, frame.len())]);
        assert_eq!(here.wait(1, 1).len(), 1);
    };
    // The first buffer is too small for the first frame, and is kept for the next one.
    there.submit(0, 0, &[room(BUFFERS, 12 + 60)]);
    send(0, 200);
    let base = there.stop(&mut frontend, 0);
    assert_eq!(base, 0);
    send(1, 60);
    assert!(server.control("status").contains("port 0 sent 2"));
    assert_eq!(there.used_index(0), 0, "its ring is stopped");
    there.start_at(&mut frontend, 0, base);
    assert_eq!(there.wait(0, 1), [(0, 72)]);
    there.submit(0, 1, &[room(BUFFERS, 12 + 60)]);
    send(2, 60);
    assert_eq!(there.wait(0, 1), [(1, 72)]);
    let told = server.end();
    assert!(told.contains("requests-kept queue=0 requests=1"), "{told}");
}

#[test]
fn a_device_keeps_its_state_while_stopped_and_loses_it_to_a_driver_that_begins_anew() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "panel --png p.png");
    let mut guest = Guest::new(2, 64);
    let mut frontend = guest.connect(&server.socket());
    let ask = |guest: &mut Guest, words: &[u32]| -> u32 {
        let mut bytes = words[0].to_le_bytes().to_vec();
        bytes.resize(24, 0);
        bytes.extend(words[1..].iter().flat_map(|word| word.to_le_bytes()));
        guest.write(BUFFERS, &bytes);
        let parts = [out(BUFFERS, bytes.len()), room(BUFFERS + 0x1000, 24)];
        guest.submit(0, 0, &parts);
        guest.wait(0, 1);
        guest.get(BUFFERS + 0x1000)
    };
    // RESOURCE_CREATE_2D and RESOURCE_FLUSH (virtio 1.4 §5.7.6.8): done, or no such resource.
    let create = [0x101, 1, 2, 16, 16];
    let flush = [0x104, 0, 0, 16, 16, 1, 0];
    assert_eq!(ask(&mut guest, &create), 0x1100);
    let bases = [0, 1].map(|queue| guest.stop(&mut frontend, queue));
    assert_eq!(bases, [1, 0]);
    for (queue, base) in bases.into_iter().enumerate() {
        guest.start_at(&mut frontend, queue, base);
    }
    assert_eq!(ask(&mut guest, &flush), 0x1100);
    for queue in 0..2 {
        guest.stop(&mut frontend, queue);
    }
    guest.forget_rings();
    for queue in 0..2 {
        guest.start_at(&mut frontend, queue, 0);
    }
    assert_eq!(ask(&mut guest, &flush), 0x1203);
    server.end();
}
