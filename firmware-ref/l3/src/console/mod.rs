//! The console: one line in, a few lines out. The answers are part of the firmware's manual; scripts of
//! operators read them.
//!
//! | module | contents |
//! |---|---|
//! | [`command`] | what an operator can type |
//! | [`lists`] | the longer answers |

mod command;
mod lists;

use cluster::interlock::{may_reset_all, may_stop};
use runtime::board_control::{HoldAction, ResetKind};

use crate::application::Context;
use crate::chassis::Chassis;
use crate::departure::Departure;
use crate::host_port::HostPort;
use crate::installation::Installation;
use crate::nodes::Nodes;
use command::{Command, HELP, parse};

/// The console of this controller.
#[derive(Debug)]
pub(crate) struct Console;

/// A slot as operators name it.
pub(crate) struct Letter(pub(crate) u8);

impl core::fmt::Display for Letter {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let letter = char::from(b'A'.saturating_add(self.0));
        write!(f, "{letter}")
    }
}

impl Console {
    pub(crate) fn new() -> Console {
        Console
    }

    /// Carries out every line that is there.
    pub(crate) fn serve(
        &mut self,
        context: &mut Context<'_>,
        chassis: &mut Chassis,
        host_port: &mut HostPort,
        installation: &mut Installation,
        departure: &mut Departure,
        nodes: &mut impl Nodes,
    ) {
        let Some(console) = &context.hardware.console else {
            return;
        };
        while let Ok(Some(line)) = console.poll_line() {
            if let Some(words) = words_for(nodes, line.as_str()) {
                nodes.obey(context, words);
                continue;
            }
            let command = parse(line.as_str(), context.build.lists_luns);
            carry_out(
                command,
                context,
                chassis,
                host_port,
                installation,
                departure,
                nodes,
            );
        }
    }
}

/// What is behind `node`, in a build that serves any.
fn words_for<'a, N: Nodes>(_nodes: &N, line: &'a str) -> Option<&'a str> {
    let words = line.trim_start().strip_prefix("node")?;
    let is_apart = words.is_empty() || words.starts_with(|c: char| c.is_ascii_whitespace());
    (N::SERVES && is_apart).then_some(words)
}

fn carry_out(
    command: Command<'_>,
    context: &mut Context<'_>,
    chassis: &mut Chassis,
    host_port: &mut HostPort,
    installation: &mut Installation,
    departure: &mut Departure,
    nodes: &mut impl Nodes,
) {
    let hardware = context.hardware;
    let stops = matches!(
        command,
        Command::ResetAll | Command::Reset(_) | Command::Disable(_)
    );
    if stops && departure.is_pending() {
        hardware.say(format_args!("error: a controller is being stopped"));
        return;
    }
    match command {
        Command::Nothing => {}
        Command::Help => {
            for line in &HELP {
                if context.build.lists_luns || !line.lists_luns {
                    hardware.say(format_args!("{:<12}  {}", line.usage, line.what));
                }
            }
            nodes.help(hardware);
        }
        Command::Version => lists::versions(context, chassis),
        Command::Package => lists::package(context),
        Command::Install { force } => {
            if let Err(refusal) = installation.begin(context, chassis, nodes, force) {
                hardware.say(format_args!("error: {refusal}"));
            }
        }
        Command::ResetAll => reset_all(context, chassis, host_port),
        Command::Reset(slot) if slot == hardware.slot() => {
            if may_stop_now(context, chassis, slot) {
                hardware.say(format_args!("resetting controller {}", Letter(slot)));
                departure.reset_this(context, chassis, host_port);
            }
        }
        Command::Reset(slot) => {
            if may_stop_now(context, chassis, slot) {
                hardware.say(format_args!("resetting controller {}", Letter(slot)));
                departure.reset(context, chassis, slot);
            }
        }
        Command::Disable(slot) if slot == hardware.slot() => hardware.say(format_args!(
            "error: a controller cannot disable itself; use the console of another one"
        )),
        Command::Disable(slot) => {
            if may_stop_now(context, chassis, slot) {
                departure.disable(context, chassis, slot);
            }
        }
        Command::Enable(slot) => enable(context, chassis, slot),
        Command::FruList => lists::units(context, chassis),
        Command::SysList => lists::settings(context, chassis),
        Command::LunList => lists::luns(context, chassis),
        Command::Usage(usage) => hardware.say(format_args!("error: usage: {usage}")),
        Command::Unknown(verb) => {
            hardware.say(format_args!("error: unknown command {verb}; try help"));
        }
    }
}

/// VC80: all at once, and the host has to wait.
fn reset_all(context: &mut Context<'_>, chassis: &mut Chassis, host_port: &mut HostPort) {
    let hardware = context.hardware;
    let controllers = chassis.controllers(context);
    // In service mode this controller is not operational and never will be: it is no reason to wait.
    let mut judged = controllers;
    if let Some(own) = judged.get_mut(usize::from(hardware.slot())) {
        own.operational = true;
    }
    if let Err(refusal) = may_reset_all(&judged) {
        hardware.say(format_args!("error: refused: {refusal}"));
        return;
    }
    hardware.say(format_args!("resetting all controllers"));
    for (slot, controller) in (0_u8..).zip(&controllers) {
        if slot != hardware.slot() && controller.powered && !controller.held {
            chassis.hold(context, slot, host_port);
            let _boots = hardware.control.hold(slot, HoldAction::Release);
        }
    }
    chassis.leave(context, host_port);
    let control = &hardware.control;
    control.trace(format_args!("reset-requested cause=operator"));
    // What is queued goes out first.
    hardware.settle();
    control.reset(ResetKind::Cold)
}

/// Whether there is a controller in `slot` and the interlock lets it be stopped; says so if not.
fn may_stop_now(context: &Context<'_>, chassis: &Chassis, slot: u8) -> bool {
    if !is_there(context, chassis, slot) {
        return false;
    }
    let judged = may_stop(&chassis.stand_ins(context), slot);
    if let Err(refusal) = judged {
        let hardware = context.hardware;
        hardware.say(format_args!("error: refused: {refusal}"));
    }
    judged.is_ok()
}

fn enable(context: &mut Context<'_>, chassis: &mut Chassis, slot: u8) {
    let hardware = context.hardware;
    if slot == hardware.slot() {
        hardware.say(format_args!(
            "error: controller {} is not disabled",
            Letter(slot)
        ));
        return;
    }
    if !is_there(context, chassis, slot) {
        return;
    }
    let held = chassis.neighbour(context, slot).is_some_and(|n| n.held);
    if !held {
        hardware.say(format_args!(
            "error: controller {} is not disabled",
            Letter(slot)
        ));
        return;
    }
    let control = &hardware.control;
    if control.hold(slot, HoldAction::Release).is_ok() {
        control.trace(format_args!("controller-enabled slot={slot}"));
        hardware.say(format_args!("controller {} enabled", Letter(slot)));
    }
}

/// Whether there is a controller in `slot`; says so where there is none.
fn is_there(context: &Context<'_>, chassis: &Chassis, slot: u8) -> bool {
    let there = slot == context.hardware.slot()
        || (chassis.slots().any(|known| known == slot)
            && chassis
                .neighbour(context, slot)
                .is_some_and(|neighbour| neighbour.present));
    if !there {
        let hardware = context.hardware;
        hardware.say(format_args!(
            "error: no controller in slot {}",
            Letter(slot)
        ));
    }
    there
}
