//! Stopping a controller without a gap: the logical unit goes to another one first, and whoever gave it
//! up lingers a little, so that hosts hear from it to go elsewhere.

use runtime::board_control::{HoldAction, ResetKind};

use crate::application::Context;
use crate::chassis::Chassis;
use crate::console::Letter;
use crate::host_port::HostPort;

/// Longer than hosts usually are silent.
const LINGER_NS: u64 = 50_000_000;

/// What is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Keep another controller in reset.
    Disable(u8),
    /// Reset another controller.
    Reset(u8),
    /// Reset this one.
    ResetThis,
}

/// A controller on its way out, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Departure {
    plan: Option<(Plan, u64)>,
}

impl Departure {
    /// Whether a controller is being stopped.
    pub(crate) fn is_pending(&self) -> bool {
        self.plan.is_some()
    }

    /// When [`Departure::tick`] has something to do.
    pub(crate) fn deadline_ns(&self) -> u64 {
        self.plan.map_or(u64::MAX, |(_, at_ns)| at_ns)
    }

    /// Disables another controller.
    pub(crate) fn disable(&mut self, context: &mut Context<'_>, chassis: &mut Chassis, slot: u8) {
        self.stop(context, chassis, Plan::Disable(slot), slot);
    }

    /// Resets another controller.
    pub(crate) fn reset(&mut self, context: &mut Context<'_>, chassis: &mut Chassis, slot: u8) {
        self.stop(context, chassis, Plan::Reset(slot), slot);
    }

    fn stop(&mut self, context: &Context<'_>, chassis: &mut Chassis, plan: Plan, slot: u8) {
        let now_ns = context.hardware.control.now_ns();
        let linger_ns = if chassis.ask_to_step_down(context, slot) {
            LINGER_NS
        } else {
            0
        };
        self.plan = Some((plan, now_ns.saturating_add(linger_ns)));
    }

    /// Resets this controller.
    pub(crate) fn reset_this(
        &mut self,
        context: &mut Context<'_>,
        chassis: &mut Chassis,
        host_port: &mut HostPort,
    ) {
        let control = &context.hardware.control;
        let linger_ns = if chassis.cluster().owns_lun() {
            LINGER_NS
        } else {
            0
        };
        control.trace(format_args!("reset-requested cause=operator"));
        chassis.leave(context, host_port);
        self.plan = Some((Plan::ResetThis, control.now_ns().saturating_add(linger_ns)));
    }

    /// Does what is due.
    pub(crate) fn tick(
        &mut self,
        context: &mut Context<'_>,
        chassis: &mut Chassis,
        host_port: &mut HostPort,
    ) {
        let hardware = context.hardware;
        let control = &hardware.control;
        let due = self.plan.take_if(|(_, at_ns)| *at_ns <= control.now_ns());
        match due {
            None => {}
            Some((Plan::ResetThis, _)) => {
                // What is queued goes out first.
                hardware.settle();
                control.reset(ResetKind::Cold)
            }
            Some((Plan::Disable(slot), _)) => {
                control.trace(format_args!("controller-disabled slot={slot}"));
                chassis.hold(context, slot, host_port);
                hardware.say(format_args!("controller {} disabled", Letter(slot)));
            }
            Some((Plan::Reset(slot), _)) => {
                control.trace(format_args!("controller-reset slot={slot}"));
                chassis.hold(context, slot, host_port);
                let _boots = control.hold(slot, HoldAction::Release);
            }
        }
    }
}
