//! The console (board manual §9, virtio 1.4 §5.3).

use devices::time::Nanos;
use devices::virtio::F_VERSION_1;
use virtio_drivers::device::console::VirtIOConsole;

use super::arena::Memory;
use super::contract::{Contract, Request};
use super::hardware::CONSOLE;
use super::host::{Host, Port};

pub(super) fn contract() -> Contract {
    Contract {
        unit: CONSOLE,
        id: 3,
        features: F_VERSION_1,
        queues: &[64, 64],
        config: Vec::new(),
        request: Request {
            queue: 1,
            readable: b"ready\n".to_vec(),
            writable: 0,
            written: 0,
            answer: Vec::new(),
        },
    }
}

fn type_at<H: Host>(port: &Port<H>, bytes: &'static [u8]) {
    let typed = port
        .host
        .operate(move |it| it.terminal.type_bytes(Nanos::ZERO, bytes));
    assert_eq!(typed, bytes.len());
    port.host.settle();
}

pub(super) fn prints_lines<H: Host>() {
    let port = Port::<H>::of(CONSOLE);
    let mut console = VirtIOConsole::<Memory, _>::new(port.clone()).unwrap();
    assert_eq!(console.size(), Ok(None));
    console.send_bytes(b"one\ntw").unwrap();
    for byte in b"o\n" {
        console.send(*byte).unwrap();
    }
    console.send_bytes(&[b'x'; 3000]).unwrap();
    let lines = port.host.operate(|it| {
        let lines = it.terminal.lines().map(str::to_owned);
        lines.collect::<Vec<_>>()
    });
    let broken = "x".repeat(512);
    let wanted = ["one", "two", &broken, &broken, &broken, &broken, &broken];
    assert_eq!(lines, wanted);
}

pub(super) fn hears_what_is_typed<H: Host>() {
    let port = Port::<H>::of(CONSOLE);
    // Before there is a driver, and while it is at work.
    type_at(&port, b"ab");
    let mut console = VirtIOConsole::<Memory, _>::new(port.clone()).unwrap();
    for typed in [&b"ab"[..], b"c", b"defgh"] {
        if typed != b"ab" {
            assert_eq!(console.recv(true), Ok(None));
            type_at(&port, typed);
        }
        port.host.settle();
        for byte in typed {
            assert_eq!(console.recv(true), Ok(Some(*byte)));
        }
    }
    port.host.settle();
    assert_eq!(console.recv(true), Ok(None));
}

/// Buffers that are posted when it is reset are forgotten; nothing that was typed is.
pub(super) fn forgets_posted_buffers_when_reset<H: Host>() {
    let port = Port::<H>::of(CONSOLE);
    let contract = contract();
    let mut old = port.drive(&contract).remove(0);
    for n in 0..4 {
        let head = old.put(n, &[], 64);
        old.offer(head);
    }
    port.notify_only(0);
    port.host.settle();
    port.host.set_status(port.unit, 0);
    type_at(&port, b"later");
    assert_eq!(old.used(), []);
    let mut rings = port.drive(&contract);
    let head = rings[0].put(0, &[], 3);
    rings[0].offer(head);
    port.finish(0, &rings[0]);
    assert_eq!(rings[0].used(), [(0, 3)]);
    assert_eq!(rings[0].answer(0, 3), b"lat");
    assert_eq!(old.used(), []);
}
