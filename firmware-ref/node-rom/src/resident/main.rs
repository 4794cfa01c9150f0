//! The boot ROM of a node of prior art (CD63): the node keeps its full image in flash and runs it without asking anybody.
//!
//! Only a node that was reset by a command or its button asks, and then takes nothing but
//! a download that is addressed to it (`distribution::message::Audience::Node`). That is programmed over the image in
//! flash: if power goes meanwhile, the node is crippled for good.
#![no_std]
#![no_main]

#[path = "../self_test.rs"]
mod self_test;

mod door;
mod kept;

use core::convert::Infallible;

use distribution::{Identity, NodeAction, Receiver};
use node::{Bus, Handover};
use runtime::board_control::{BoardControl, ResetKind};
use runtime::can::{CanController, Frame};
use runtime::{DeviceError, ResetReason, SpiController, number, ram};

use crate::kept::Kept;

core::arch::global_asm!(
    // 1 MiB is all that a node has; one page of 2 MiB maps it.
    ".set RAM_PAGES, 1",
    include_str!("../../../runtime/reset.s"),
    options(att_syntax)
);

runtime::entry!(node_rom, runtime::entry::die_in_few_words);

/// The first half of the image's memory is where it runs, the other for what lies in flash.
const IMAGE_ROOM: usize = (ram::NODE_IMAGE.end - ram::NODE_IMAGE.start) as usize / 2;

fn node_rom() -> ! {
    let opened = BoardControl::open_without_flash(0);
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
    let fault = self_test::first_fault::<0x1_0000>(memory);
    if let Some(unit) = fault {
        control.trace_words("post-failed unit=", &unit);
    }
    let can = CanController::open(control, number::CAN);
    if let Err(error) = &can {
        control.trace_words("post-failed unit=can cause=", error);
    }
    let spi = SpiController::open(number::FLASH);
    if let Err(error) = &spi {
        control.trace_words("post-failed unit=flash cause=", error);
    }
    let (image, from_flash) = memory.split_at_mut(IMAGE_ROOM.min(memory.len()));
    let (Ok(can), Ok(spi), None) = (&can, &spi, fault) else {
        return crippled(control, can.as_ref().ok(), &identity);
    };
    let mut kept = Kept::new(spi, control, from_flash);
    if !kept.load(identity.module, image) {
        return crippled(control, Some(can), &identity);
    }
    let reset = control.identity().reset_reason;
    if matches!(reset, ResetReason::Cold | ResetReason::Warm) {
        if let Some(download) = door::open(control, can, &identity, image)? {
            kept.program(identity.module, &download, image);
        }
        // Whatever came, or came halfway, lies where the image did.
        if !kept.load(identity.module, image) {
            return crippled(control, Some(can), &identity);
        }
    }
    let Some(part) = kept.loaded() else {
        return crippled(control, Some(can), &identity);
    };
    // What was traced goes out before the image resets board control.
    control.wait(0, 0, Some(0))?;
    let handover = Handover {
        identity,
        version: part.version,
        now_ns: control.now_ns(),
    };
    handover.store();
    // SAFETY: a whole image was checked where it lies, with `entry` in it; nothing of the ROM is
    // needed any more.
    unsafe { runtime::entry::jump(ram::NODE_IMAGE.start + part.entry) }
}

/// The node says that it does not work, and asks for nothing: it can only be told to boot again, and nothing but
/// another node in its place is a remedy.
fn crippled(
    control: &BoardControl,
    can: Option<&CanController>,
    identity: &Identity,
) -> Result<Infallible, DeviceError> {
    let mut receiver = Receiver::new(*identity, true);
    receiver.self_test(control.now_ns(), false);
    let mut bus = can.map(Bus::of);
    let mut frame = Frame::EMPTY;
    loop {
        while let Some(action) = receiver.next_action() {
            let _nothing_to_run = act(control, bus.as_ref(), action)?;
        }
        let Some(bus) = &mut bus else { control.park() };
        bus.wait(control, receiver.deadline_ns())?;
        while bus.receive(&mut frame)? {
            // No memory: it takes no image.
            receiver.frame(
                control.now_ns(),
                frame.id(),
                frame.data(),
                &mut [] as &mut [u8],
            );
        }
    }
}

/// Does what a state machine asks for; what is left to its caller comes back.
fn act(
    control: &BoardControl,
    bus: Option<&Bus>,
    action: NodeAction,
) -> Result<Option<NodeAction>, DeviceError> {
    match (action, bus) {
        (NodeAction::Send(frame), Some(bus)) => bus.send(&frame)?,
        (NodeAction::Send(_), None) => {}
        (NodeAction::Trace(event), _) => control.trace_words("", &event),
        (NodeAction::Reboot, _) => control.reset(ResetKind::Cold),
        (NodeAction::Run { .. }, _) => return Ok(Some(action)),
    }
    Ok(None)
}
