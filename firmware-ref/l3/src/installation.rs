//! `boot -i`: from service media into the array, step by step between everything else.

use cluster::interlock::{Unfinished, may_prefer};
use image::Package;
use system_area::{Catalogue, Condition, Install, InstallError, Progress};

use crate::application::Context;
use crate::chassis::Chassis;
use crate::hardware::Hardware;
use crate::host_port::HostPort;
use crate::nodes::Nodes;
use crate::publish::{PACKAGE_NAME, SYSTEM_AREA_LOCK, new_catalogue};
use crate::source::{declaration, l3_version, look, media};
use runtime::board_control::LockAction;
use system_area::BlockDevice;

/// An installation, if one is going on.
#[derive(Debug, Default)]
pub(crate) struct Installation {
    install: Option<Install>,
}

/// Why an installation does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// One is going on.
    Running,
    /// There is no medium.
    NoMedium,
    /// Another controller writes.
    Locked,
    /// The array does not answer.
    Unreachable,
    /// What is there would be lost.
    Invalid(&'static str),
    /// A version that runs would be declared no more.
    Unfinished(Unfinished),
    /// The nodes of the bus would be left without what they need.
    Nodes(&'static str),
}

impl Refusal {
    /// The word used in traces: `cause=…`.
    fn as_str(self) -> &'static str {
        match self {
            Refusal::Running => "installing",
            Refusal::NoMedium => "no-media",
            Refusal::Locked => "locked",
            Refusal::Unreachable => "disk-unreachable",
            Refusal::Invalid(_) => "disk-image-invalid",
            Refusal::Unfinished(_) => "upgrade-unfinished",
            Refusal::Nodes(cause) => cause,
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Refusal::Running => f.write_str("an installation is running"),
            Refusal::NoMedium => f.write_str("no service media"),
            Refusal::Locked => f.write_str("another controller is writing the system area"),
            Refusal::Unreachable => f.write_str("the array does not answer"),
            Refusal::Invalid(cause) => write!(
                f,
                "the system area is not usable ({cause}); boot -i -f overwrites it"
            ),
            Refusal::Nodes(cause) => write!(f, "refused: {cause}"),
            Refusal::Unfinished(left) => write!(f, "refused: an upgrade is unfinished: {left}"),
        }
    }
}

impl Installation {
    pub(crate) fn is_running(&self) -> bool {
        self.install.is_some()
    }

    /// Begins; the answer to the operator comes from [`Installation::step`]. `force` gives up what an
    /// unusable system area may hold.
    pub(crate) fn begin(
        &mut self,
        context: &mut Context<'_>,
        chassis: &Chassis,
        nodes: &impl Nodes,
        force: bool,
    ) -> Result<(), Refusal> {
        let begun = self.try_begin(context, chassis, nodes, force);
        if let Err(refusal) = begun {
            let control = &context.hardware.control;
            control.trace(format_args!("package-refused cause={}", refusal.as_str()));
        }
        begun
    }

    fn try_begin(
        &mut self,
        context: &mut Context<'_>,
        chassis: &Chassis,
        nodes: &impl Nodes,
        force: bool,
    ) -> Result<(), Refusal> {
        let hardware = context.hardware;
        if self.is_running() {
            return Err(Refusal::Running);
        }
        if hardware.media().sectors() == 0 {
            return Err(Refusal::NoMedium);
        }
        if let Some(cause) = objection(hardware, nodes) {
            return Err(Refusal::Nodes(cause));
        }
        let control = &hardware.control;
        let lock = control.lock(SYSTEM_AREA_LOCK, LockAction::Acquire);
        if lock.is_ok_and(|lock| lock.refused) {
            return Err(Refusal::Locked);
        }
        let found = match look(hardware, context.work) {
            Condition::Present(catalogue) => Ok(catalogue),
            Condition::Absent => Ok(new_catalogue(hardware)),
            Condition::Invalid(_) if force => Ok(new_catalogue(hardware)),
            Condition::Invalid(damage) => Err(Refusal::Invalid(damage.as_str())),
            Condition::Unreachable => Err(Refusal::Unreachable),
        };
        let allowed = found.and_then(|catalogue| {
            let judged = judge(context, chassis, &catalogue);
            judged.map_err(Refusal::Unfinished).map(|()| catalogue)
        });
        match allowed {
            Ok(catalogue) => {
                let now_s = control.calendar_s();
                self.install = Some(Install::new(catalogue, PACKAGE_NAME, now_s));
                Ok(())
            }
            Err(refusal) => {
                release(context);
                Err(refusal)
            }
        }
    }

    /// Does a piece of it. True when that finished it.
    pub(crate) fn step(
        &mut self,
        context: &mut Context<'_>,
        chassis: &mut Chassis,
        host_port: &mut HostPort,
    ) -> bool {
        let Some(install) = &mut self.install else {
            return false;
        };
        let hardware = context.hardware;
        let requirements = hardware.package_requirements();
        let (mut array, mut source) = (hardware.array(), media(hardware));
        match install.step(&mut array, &mut source, &requirements, context.work) {
            Ok(Progress::Finished) => {
                let catalogue = *install.catalogue();
                self.install = None;
                release(context);
                if let Some(preferred) = catalogue.preferred() {
                    let version = preferred.package.version;
                    let control = &hardware.control;
                    control.trace(format_args!("package-installed version={version}"));
                    hardware.say(format_args!("installed {version}"));
                }
                chassis.declare(context, declaration(&catalogue), host_port);
                return true;
            }
            Ok(_) => {}
            Err(error) => {
                self.install = None;
                release(context);
                let cause = error.as_str();
                let control = &hardware.control;
                control.trace(format_args!("package-refused cause={cause}"));
                match error {
                    InstallError::Source(defect) => {
                        hardware.say(format_args!("error: package refused: {defect}"));
                    }
                    _ => hardware.say(format_args!("error: package refused: {cause}")),
                }
            }
        }
        false
    }
}

/// Whether the package on service media leaves every controller with a version that is declared. One
/// that cannot be read is refused later, with what is wrong with it.
fn judge(
    context: &Context<'_>,
    chassis: &Chassis,
    catalogue: &Catalogue,
) -> Result<(), Unfinished> {
    let hardware = context.hardware;
    let alone = chassis.slots().count() == 1;
    if alone || hardware.control.identity().straps.baseline_no_compare() {
        return Ok(());
    }
    let Some(preferred) = catalogue.preferred().map(|entry| entry.package) else {
        return Ok(());
    };
    let Ok(package) = Package::read(&mut media(hardware)) else {
        return Ok(());
    };
    let (Some(new), Some(now)) = (l3_version(&package), l3_version(&preferred)) else {
        return Ok(());
    };
    if package == preferred {
        // It stays what it is, and so does the one before it.
        return Ok(());
    }
    let operational = chassis
        .slots()
        .filter(|slot| chassis.cluster().is_operational(*slot));
    let running = operational.filter_map(|slot| Some((slot, chassis.cluster().version_of(slot)?)));
    may_prefer(new, now, running)
}

/// What speaks against the package on service media, as far as nodes are concerned. One that cannot be read
/// is refused later, with what is wrong with it.
fn objection<N: Nodes>(hardware: &Hardware, nodes: &N) -> Option<&'static str> {
    if !N::SERVES {
        return None;
    }
    let package = Package::read(&mut media(hardware)).ok()?;
    nodes.objection(&package)
}

fn release(context: &Context<'_>) {
    let control = &context.hardware.control;
    let _free_after_reset = control.lock(SYSTEM_AREA_LOCK, LockAction::Release);
}
