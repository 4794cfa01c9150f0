//! The boot ROM of a CAN node: all the code that a node keeps. Tests the node, asks for its image, takes it from
//! what a master broadcasts (`distribution::Receiver`), and runs it.
#![no_std]
#![no_main]

mod self_test;

use core::convert::Infallible;

use distribution::{Identity, NodeAction, Receiver};
use node::{Bus, Handover};
use runtime::board_control::{BoardControl, ResetKind};
use runtime::can::{CanController, Frame};
use runtime::{DeviceError, number, ram};

core::arch::global_asm!(
    // 1 MiB is all that a node has; one page of 2 MiB maps it.
    ".set RAM_PAGES, 1",
    include_str!("../../runtime/reset.s"),
    options(att_syntax)
);

// Without `core::fmt`, which is too large for a ROM of 16 KiB.
runtime::entry!(node_rom, runtime::entry::die_in_few_words);

fn node_rom() -> ! {
    let opened = BoardControl::open_without_flash(0);
    // Used where it lies: a move is a hundred bytes of code.
    let control = match &opened {
        Ok(control) => control,
        // Nobody to tell but the last-words port.
        Err(error) => runtime::entry::last_words("board control: ", error),
    };
    let reset = control.identity().reset_reason;
    control.trace_words("node-rom-started reset=", &reset);
    let Err(error) = run(control);
    // The next boot finds out whether it was a passing trouble: the self-test opens the controller.
    control.trace_words("bus-failed cause=", &error);
    control.reset(ResetKind::Cold)
}

/// From the self-test on, until the bus fails.
fn run(control: &BoardControl) -> Result<Infallible, DeviceError> {
    let Some(identity) = node::identity(control.identity()) else {
        control.trace_words("post-failed unit=", &"straps");
        control.park()
    };
    let memory = ram::node_image();
    let fault = self_test::first_fault::<0x4000>(memory);
    if let Some(unit) = fault {
        control.trace_words("post-failed unit=", &unit);
    }
    let can = CanController::open(control, number::CAN);
    if let Err(error) = &can {
        control.trace_words("post-failed unit=can cause=", error);
    }
    let mut receiver = Receiver::new(identity, node::tells_type(control.identity()));
    receiver.self_test(control.now_ns(), fault.is_none() && can.is_ok());
    let mut bus = can.as_ref().ok().map(Bus::of);
    act(control, bus.as_ref(), &identity, &mut receiver)?;
    let mut frame = Frame::EMPTY;
    loop {
        let Some(bus) = &mut bus else { control.park() };
        bus.wait(control, receiver.deadline_ns())?;
        let now_ns = control.now_ns();
        while bus.receive(&mut frame)? {
            receiver.frame(now_ns, frame.id(), frame.data(), memory);
            act(control, Some(bus), &identity, &mut receiver)?;
        }
        receiver.tick(now_ns);
        act(control, Some(bus), &identity, &mut receiver)?;
    }
}

/// Does what the state machine asks for.
fn act(
    control: &BoardControl,
    bus: Option<&Bus>,
    identity: &Identity,
    receiver: &mut Receiver,
) -> Result<(), DeviceError> {
    while let Some(action) = receiver.next_action() {
        match action {
            NodeAction::Send(frame) => {
                if let Some(bus) = bus {
                    bus.send(&frame)?;
                }
            }
            NodeAction::Trace(event) => control.trace_words("", &event),
            NodeAction::Reboot => control.reset(ResetKind::Cold),
            NodeAction::Run { entry, version, .. } => {
                // What was traced goes out before the image resets board control.
                control.wait(0, 0, Some(0))?;
                let handover = Handover {
                    identity: *identity,
                    version,
                    now_ns: control.now_ns(),
                };
                handover.store();
                // SAFETY: a whole image was checked where it lies, with `entry` in it; nothing of the
                // ROM is needed any more.
                unsafe { runtime::entry::jump(ram::NODE_IMAGE.start + entry) }
            }
        }
    }
    Ok(())
}
