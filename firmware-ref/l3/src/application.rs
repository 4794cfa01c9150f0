//! The controller application: one loop around one wait.

use cluster::message::parse;
use cluster::{Message, Role};
use runtime::board_control::{BoardControl, SlotMask};

use crate::boot_sequence::Ready;
use crate::chassis::Chassis;
use crate::console::Console;
use crate::departure::Departure;
use crate::hardware::{Hardware, Memory};
use crate::host_link::HostLink;
use crate::host_port::HostPort;
use crate::installation::Installation;
use crate::nodes::Nodes;
use crate::partner_package::OwnPackage;
use crate::picture::Phase;
use crate::{Build, Flaw, Running};

/// A loop that hangs for so long is reset.
const WATCHDOG_NS: u64 = 2_000_000_000;
/// How often it is renewed, at least.
const RENEWAL_NS: u64 = 500_000_000;

/// What the parts of the application share.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) build: &'a Build,
    pub(crate) hardware: &'a Hardware,
    pub(crate) running: &'a Running,
    pub(crate) work: &'static mut [u8],
}

/// Runs the application, or only the console where the application must not run.
pub(crate) fn run<L: HostLink, N: Nodes>(
    build: &Build,
    hardware: &Hardware,
    running: &Running,
    ready: Ready,
    memory: Memory,
) -> ! {
    let Memory {
        work,
        frames,
        data,
        mut package,
    } = memory;
    let mut context = Context {
        build,
        hardware,
        running,
        work,
    };
    let control = &hardware.control;
    let mut watchdog = Watchdog::default();
    watchdog.renew(control);
    let mut chassis = Chassis::new(&context);
    let mut host_link = L::new(hardware, frames);
    let mut host_port = HostPort::new(data);
    let mut nodes = N::new(hardware, &mut package);
    let mut own_package = OwnPackage::new(package);
    let mut console = Console::new();
    let mut installation = Installation::default();
    let mut departure = Departure::default();
    let mut phase = Phase::Service;
    match ready {
        Ready::Application {
            declared,
            array_identity,
        } => {
            let version = running.version;
            control.trace(format_args!("application-started version={version}"));
            fail_as_built(build, control, &mut watchdog);
            phase = Phase::Operational;
            host_port.open(hardware, running, array_identity);
            host_link.open(array_identity);
            chassis.start(&mut context, declared, &mut host_port);
            nodes.open(&mut context);
        }
        Ready::Service { cause } => {
            control.trace(format_args!("boot-error level=3 cause={cause}"));
            hardware.say(format_args!("service mode: {cause}"));
        }
    }
    loop {
        hardware.show(phase, running, chassis.role());
        watchdog.renew_if_due(control);
        let now_ns = control.now_ns();
        let deadline_ns = if installation.is_running() {
            now_ns
        } else {
            let own_ns = chassis.deadline_ns().min(departure.deadline_ns());
            let own_ns = own_ns.min(host_link.deadline_ns(hardware));
            let own_ns = own_ns.min(nodes.deadline_ns());
            own_ns.min(now_ns.saturating_add(RENEWAL_NS))
        };
        let [any, all] = nodes.masks();
        if control
            .wait(mask(hardware) | any, all, Some(deadline_ns))
            .is_err()
        {
            // Without board control there is no time: the watchdog, if it still works, ends this.
            control.park();
        }
        receive(&mut context, &mut chassis, &mut host_port, &mut own_package);
        chassis.tick(&mut context, &mut host_port);
        host_port.serve(&context, &mut host_link);
        host_link.settle(hardware);
        if installation.step(&mut context, &mut chassis, &mut host_port) {
            nodes.catalogue_changed();
        }
        departure.tick(&mut context, &mut chassis, &mut host_port);
        nodes.serve(&mut context, &mut chassis);
        console.serve(
            &mut context,
            &mut chassis,
            &mut host_port,
            &mut installation,
            &mut departure,
            &mut nodes,
        );
    }
}

/// Wherever something may arrive.
fn mask(hardware: &Hardware) -> SlotMask {
    let port = |port: &Option<runtime::network::Port>| port.as_ref().map_or(0, |port| port.mask());
    let console = hardware.console.as_ref();
    port(&hardware.backplane)
        | port(&hardware.host_port)
        | console.map_or(0, runtime::console::Console::mask)
}

/// Takes what the partners sent.
fn receive(
    context: &mut Context<'_>,
    chassis: &mut Chassis,
    host_port: &mut HostPort,
    own_package: &mut OwnPackage,
) {
    let hardware = context.hardware;
    let Some(port) = &hardware.backplane else {
        return;
    };
    let newest = if context.build.heartbeat_2 { 2 } else { 1 };
    let mut frame = [0; runtime::network::FRAME_BYTES];
    while let Ok(Some(length)) = port.receive(&mut frame) {
        match parse(frame.get(..length).unwrap_or_default(), newest) {
            Some(Message::Heartbeat(heartbeat)) => {
                chassis.heard(context, &heartbeat, host_port);
            }
            Some(Message::Read {
                slot,
                to,
                offset,
                length,
            }) => {
                // Of several that could answer anybody, the master does.
                let asked = to == hardware.slot()
                    || (to == cluster::message::ANYBODY && chassis.role() == Some(Role::Master));
                if asked {
                    let Context { running, work, .. } = context;
                    own_package.answer(hardware, running, work, slot, offset, length);
                }
            }
            Some(Message::StepDown { to, .. }) if to == hardware.slot() => {
                chassis.step_down(context, host_port);
            }
            Some(Message::StepDown { .. } | Message::Data { .. }) | None => {}
        }
    }
}

/// The known-bad builds fail here.
fn fail_as_built(build: &Build, control: &BoardControl, watchdog: &mut Watchdog) {
    match build.flaw {
        None | Some(Flaw::Brick) => {}
        Some(Flaw::Crash) => {
            let _traced = control.wait(0, 0, Some(0));
            // SAFETY: does not return; that is the flaw.
            unsafe { core::arch::asm!("ud2", options(noreturn, nomem, nostack)) }
        }
        Some(Flaw::Hang) => {
            let _traced = control.wait(0, 0, Some(0));
            loop {
                core::hint::spin_loop();
            }
        }
        Some(Flaw::Mute) => {
            watchdog.disarm(control);
            control.park()
        }
    }
}

/// The board's watchdog, armed as long as the loop goes round.
#[derive(Debug, Default)]
struct Watchdog {
    renewed_ns: u64,
}

impl Watchdog {
    fn renew(&mut self, control: &BoardControl) {
        self.renewed_ns = control.now_ns();
        // A board without watchdog runs without.
        let _unsupported = control.watchdog(WATCHDOG_NS);
    }

    fn renew_if_due(&mut self, control: &BoardControl) {
        if control.now_ns().saturating_sub(self.renewed_ns) >= RENEWAL_NS {
            self.renew(control);
        }
    }

    fn disarm(&mut self, control: &BoardControl) {
        let _unsupported = control.watchdog(0);
        self.renewed_ns = control.now_ns();
    }
}
