//! The images of CAN nodes: what a node does once its image runs and it is fully operational (CD12).
//!
//! One program for each kind of module and version, in `src/bin`; what they differ in is their [`Build`]. All of them
//! obey commands (`distribution::Running`), sleep through broadcasts as far as the controller lets them,
//! and report what they do every few seconds ([`report`]); the operator panel shows the library
//! ([`library`], [`picture`]).
#![cfg_attr(not(test), no_std)]

pub mod library;
pub mod picture;
pub mod report;

use core::convert::Infallible;

use distribution::{Content, Module, NodeAction, Running};
use node::{Bus, Handover};
use runtime::board_control::{BoardControl, ResetKind};
use runtime::can::{self, CanController, Frame};
use runtime::{DeviceError, number};

use crate::picture::{Layout, Show};
use crate::report::{REPORT_PERIOD_NS, Report};

/// What one program does otherwise than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// For which nodes it is.
    content: Content,
    /// Reports tell how long it runs.
    tells_uptime: bool,
    /// How the panel looks.
    layout: Layout,
}

impl Build {
    /// Version 1.0.
    pub const fn version_1_0(content: Content) -> Build {
        Build {
            content,
            tells_uptime: false,
            layout: Layout::Lines,
        }
    }

    /// Version 2.0: reports tell how long the node runs; the panel has a bar, and the types one by one.
    pub const fn version_2_0(content: Content) -> Build {
        Build {
            tells_uptime: true,
            layout: Layout::Banner,
            ..Build::version_1_0(content)
        }
    }
}

/// A node without a panel.
pub fn run(build: &Build) -> ! {
    let (control, handover) = begin(build);
    finish(&control, serve(build, &control, &handover, &mut ()))
}

/// A node with a panel. Apart from [`run`], so that the others are not linked with what draws.
pub fn run_with_panel(build: &Build) -> ! {
    let (control, handover) = begin(build);
    let mut show = Show::open(&control, build.layout, &handover);
    finish(&control, serve(build, &control, &handover, &mut show))
}

/// Any node, by the common image: it senses what it is, and passes over what is for others (CD35).
pub fn run_whatever_it_is(build: &Build) -> ! {
    let (control, handover) = begin(build);
    if handover.identity.module == Module::Panel {
        let mut show = Show::open(&control, build.layout, &handover);
        finish(&control, serve(build, &control, &handover, &mut show))
    } else {
        finish(&control, serve(build, &control, &handover, &mut ()))
    }
}

fn begin(build: &Build) -> (BoardControl, Handover) {
    let Some(handover) = Handover::load() else {
        panic!("no boot ROM handed over");
    };
    let (is, wants) = (handover.identity.module, build.content);
    if !wants.may_suit(is) {
        panic!("an image for {} on {}", wants.as_str(), is.as_str());
    }
    match BoardControl::open(handover.now_ns) {
        Ok(control) => (control, handover),
        // Nobody to tell but the last-words port.
        Err(error) => panic!("board control: {error}"),
    }
}

/// A node without a bus is no use to anybody: it boots, and its self-test says what is wrong.
fn finish(control: &BoardControl, ended: Result<Infallible, DeviceError>) -> ! {
    let Err(error) = ended;
    control.trace(format_args!("bus-failed cause={error}"));
    control.reset(ResetKind::Cold)
}

/// What a node does besides.
trait Duty {
    /// A frame was received.
    fn frame(&mut self, now_ns: u64, frame: &can::Frame);
    /// When it has something to do.
    fn deadline_ns(&self) -> u64;
    /// Time has passed.
    fn tick(&mut self, control: &BoardControl);
}

impl Duty for () {
    fn frame(&mut self, _now_ns: u64, _frame: &can::Frame) {}

    fn deadline_ns(&self) -> u64 {
        u64::MAX
    }

    fn tick(&mut self, _control: &BoardControl) {}
}

fn serve(
    build: &Build,
    control: &BoardControl,
    handover: &Handover,
    duty: &mut impl Duty,
) -> Result<Infallible, DeviceError> {
    let can = CanController::open(control, number::CAN)?;
    let mut bus = Bus::of(&can);
    let identity = handover.identity;
    let mut running = Running::new(identity, handover.version);
    let begun_ns = control.now_ns();
    let (mut beats, mut report_ns) = (0u16, begun_ns.saturating_add(REPORT_PERIOD_NS));
    act(control, &bus, &mut running)?;
    duty.tick(control);
    let mut frame = Frame::EMPTY;
    loop {
        bus.wait(control, report_ns.min(duty.deadline_ns()))?;
        let now_ns = control.now_ns();
        while bus.receive(&mut frame)? {
            running.frame(now_ns, frame.id(), frame.data());
            act(control, &bus, &mut running)?;
            duty.frame(now_ns, &frame);
        }
        if now_ns >= report_ns {
            report_ns = now_ns.saturating_add(REPORT_PERIOD_NS);
            beats = beats.wrapping_add(1);
            let uptime_s = now_ns.saturating_sub(begun_ns) / 1_000_000_000;
            let report = Report {
                node: identity.node,
                module: identity.module,
                position: report::position(identity.module, beats),
                beats,
                uptime_s: build
                    .tells_uptime
                    .then(|| u16::try_from(uptime_s).unwrap_or(u16::MAX)),
            };
            bus.send(&report.encode())?;
        }
        duty.tick(control);
    }
}

fn act(control: &BoardControl, bus: &Bus, running: &mut Running) -> Result<(), DeviceError> {
    while let Some(action) = running.next_action() {
        match action {
            NodeAction::Send(frame) => bus.send(&frame)?,
            NodeAction::Trace(event) => control.trace(format_args!("{event}")),
            NodeAction::Reboot => control.reset(ResetKind::Cold),
            // Only boot programs run images.
            NodeAction::Run { .. } => {}
        }
    }
    Ok(())
}
