//! From loaded drivers to the decision whether the application may run (Fig. 4B from step 255,
//! Fig. 4C from step 310).

use boot::{
    Action, Baseline, Booted, BootedImage, Policy, Preferred, PublishReason, Refusal, compare,
};
use cluster::Declared;
use image::{Kind, Package};
use runtime::board_control::{LockAction, ResetKind};
use system_area::{BlockDevice, Condition, HOST_VOLUME_START};

use crate::hardware::{Hardware, Memory};
use crate::picture::Phase;
use crate::publish::{self, SYSTEM_AREA_LOCK};
use crate::reflash::{self, Problem, Target};
use crate::source::{Store, declaration};
use crate::{Build, Running, download};

/// Between two attempts to get the lock of the system area.
const LOCK_POLL_NS: u64 = 20_000_000;

/// How a boot ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ready {
    /// The application may run.
    Application {
        /// What the store declares about versions.
        declared: Option<Declared>,
        /// Names the array; 0 where nothing does.
        array_identity: u64,
    },
    /// The application must not run; only the console does.
    Service {
        /// Why.
        cause: &'static str,
    },
}

/// Follows the preferred version. Does not return when that takes a reset.
pub(crate) fn run(
    build: &Build,
    hardware: &Hardware,
    running: &Running,
    memory: &mut Memory,
) -> Ready {
    hardware.show(Phase::Booting, running, None);
    let mut policy = Policy::from_straps(hardware.control.identity().straps.0);
    if running.downloaded {
        // This is what the comparison of the program in flash led to.
        policy.baseline = Some(Baseline::NoCompare);
    }
    let mut store = Store::open(hardware, memory.work);
    let locked = follow(build, hardware, running, &policy, &mut store, memory);
    let cause = match locked {
        Ok(()) => diagnose(hardware, &store),
        Err(cause) => Err(cause),
    };
    match cause {
        Ok(()) => {
            hardware.control.trace(format_args!("diagnostics-passed"));
            Ready::Application {
                declared: store.declaration(),
                array_identity: store.catalogue().map_or(0, |c| c.array_identity),
            }
        }
        Err(cause) => Ready::Service { cause },
    }
}

/// Compares, and does what follows from it.
fn follow<'a>(
    build: &Build,
    hardware: &'a Hardware,
    running: &Running,
    policy: &Policy,
    store: &mut Store<'a>,
    memory: &mut Memory,
) -> Result<(), &'static str> {
    let control = &hardware.control;
    let booted = booted(running);
    let mut comparison = compare(policy, &booted, store);
    let mut locked = false;
    while let (Action::Publish(_), false) = (&comparison.action, locked) {
        // Somebody else may be doing the same (VC93): look again once it is this one's turn.
        locked = acquire(hardware);
        *store = Store::open(hardware, memory.work);
        comparison = compare(policy, &booted, store);
    }
    if let Some(preferred) = &comparison.preferred {
        trace_preferred(hardware, store, preferred);
    }
    let done = match comparison.action {
        Action::Continue => {
            if comparison.preferred.is_some() {
                control.trace(format_args!("versions-equal version={}", running.version));
            }
            Ok(())
        }
        Action::Publish(reason) => {
            publish(hardware, running, store, reason, memory.work);
            Ok(())
        }
        Action::Reflash {
            level,
            target,
            version,
        } => {
            let target = Target {
                level,
                bank: target,
                version,
            };
            let flash = booted.level(level).version;
            control.trace(format_args!(
                "versions-differ level={} flash={flash} disk={version}",
                level.as_str()
            ));
            // The image that flash holds is not the one that must run (VC44).
            Err(reflash(build, hardware, running, &target, store, memory))
        }
        Action::Download(part) => {
            let Memory { package, work, .. } = memory;
            let Some(reader) = store.reader() else {
                return Err("download-refused");
            };
            let memory = core::mem::take(package);
            let fetched = download::fetch(hardware, reader, &part, memory, work);
            let refused = match fetched {
                Ok(header) => {
                    let (version, bytes) = (header.version, part.length);
                    control.trace(format_args!(
                        "application-downloaded version={version} bytes={bytes}"
                    ));
                    hardware.settle();
                    match download::start(&header, memory) {
                        Ok(never) => match never {},
                        Err(defect) => defect,
                    }
                }
                Err(defect) => defect,
            };
            control.trace(format_args!("download-refused cause={}", refused.as_str()));
            Err("download-refused")
        }
        Action::Refuse(Refusal::StoreUnreachable | Refusal::StoreInvalid(_)) => Ok(()),
        Action::Refuse(refusal) => {
            control.trace(format_args!("compare-refused cause={}", refusal.as_str()));
            Ok(())
        }
    };
    if locked {
        release(hardware);
    }
    done
}

fn booted(running: &Running) -> Booted {
    Booted {
        l2: BootedImage {
            bank: next_level::bank(running.l2_bank),
            version: running.l2.version,
        },
        l3: BootedImage {
            bank: next_level::bank(running.l3_bank),
            version: running.l3.version,
        },
    }
}

fn acquire(hardware: &Hardware) -> bool {
    let control = &hardware.control;
    match control.lock(SYSTEM_AREA_LOCK, LockAction::Acquire) {
        Ok(lock) if lock.refused => {
            let then_ns = control.now_ns().saturating_add(LOCK_POLL_NS);
            let _no_remedy = control.wait(0, 0, Some(then_ns));
            false
        }
        // A midplane without arbiter has one controller only.
        _ => true,
    }
}

fn release(hardware: &Hardware) {
    let _free_after_reset = hardware.control.lock(SYSTEM_AREA_LOCK, LockAction::Release);
}

fn trace_preferred(hardware: &Hardware, store: &Store<'_>, preferred: &Preferred) {
    let control = &hardware.control;
    match preferred {
        Preferred::Absent => control.trace(format_args!("disk-image-absent")),
        Preferred::Unreachable => control.trace(format_args!("disk-unreachable")),
        Preferred::Invalid(defect) => {
            let cause = match store {
                Store::Array(_, Condition::Invalid(damage)) => damage.as_str(),
                _ => defect.as_str(),
            };
            control.trace(format_args!("disk-image-invalid cause={cause}"));
        }
        Preferred::Present(package) => {
            let version = |kind| VersionOf(package, kind);
            control.trace(format_args!(
                "disk-version-read l2={} l3={}",
                version(Kind::L2),
                version(Kind::L3)
            ));
        }
    }
}

/// The version of one part, for a trace.
struct VersionOf<'a>(&'a Package, Kind);

impl core::fmt::Display for VersionOf<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0.part(self.1) {
            Some(part) => part.version.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// What cannot be published does not keep this controller from running: it has nothing to differ from.
fn publish<'a>(
    hardware: &'a Hardware,
    running: &Running,
    store: &mut Store<'a>,
    reason: PublishReason,
    work: &mut [u8],
) {
    let control = &hardware.control;
    let catalogue = match store {
        Store::Array(_, Condition::Present(catalogue)) => *catalogue,
        Store::Array(..) => publish::new_catalogue(hardware),
        Store::Media(_) | Store::Partner(_) => {
            control.trace(format_args!("publish-refused cause=read-only-source"));
            return;
        }
    };
    if reason == PublishReason::FlashIsNewer {
        let disk = declaration(&catalogue).map(|declared| declared.preferred);
        if let Some(disk) = disk {
            let flash = running.version;
            control.trace(format_args!("flash-is-newer flash={flash} disk={disk}"));
        }
    }
    match publish::run(hardware, running, catalogue, work) {
        Ok(catalogue) => {
            *store = Store::Array(hardware, Condition::Present(catalogue));
            let version = running.version;
            control.trace(format_args!("disk-image-published version={version}"));
        }
        Err(error) => control.trace(format_args!("publish-refused cause={}", error.as_str())),
    }
}

/// Re-flashes and resets; comes back only with the reason why that did not work.
fn reflash(
    build: &Build,
    hardware: &Hardware,
    running: &Running,
    target: &Target,
    store: &mut Store<'_>,
    memory: &mut Memory,
) -> &'static str {
    let control = &hardware.control;
    let (level, bank, version) = (target.level.as_str(), target.bank, target.version);
    let preferred = boot::PreferredSource::preferred(store);
    let part = match &preferred {
        Preferred::Present(package) => package.part(target.level.kind()),
        _ => None,
    };
    let (Some(reader), Some(part)) = (store.reader(), part) else {
        control.trace(format_args!("reflash-refused cause=unreadable"));
        return "reflash-refused";
    };
    let begin = || {
        hardware.show(Phase::Reflashing, running, None);
        control.trace(format_args!(
            "reflash-started level={level} bank={bank} version={version}"
        ));
    };
    let package = (reader, part);
    match reflash::run(
        build,
        hardware,
        running,
        target,
        package,
        memory.work,
        begin,
    ) {
        Ok(_) => {
            control.trace(format_args!(
                "reflash-finished level={level} bank={bank} version={version}"
            ));
            control.trace(format_args!("reset-requested cause=reflash"));
            control.reset(ResetKind::Cold)
        }
        Err(Problem::Refused(error)) => {
            control.trace(format_args!("reflash-refused cause={}", error.as_str()));
            "reflash-refused"
        }
        Err(Problem::Failed(error)) => {
            control.trace(format_args!("reflash-failed cause={}", error.as_str()));
            "reflash-failed"
        }
    }
}

/// High-level diagnostics: what the application cannot do without.
fn diagnose(hardware: &Hardware, store: &Store<'_>) -> Result<(), &'static str> {
    let failed = |unit: &'static str| {
        hardware
            .control
            .trace(format_args!("diagnostics-failed unit={unit}"));
        Err("diagnostics-failed")
    };
    let unreachable = matches!(store, Store::Array(_, Condition::Unreachable));
    if unreachable || hardware.array().sectors() <= HOST_VOLUME_START {
        return failed("shelf");
    }
    if hardware.host_port.is_none() {
        return failed("host-port");
    }
    if hardware.backplane.is_none() && hardware.control.identity().slots > 1 {
        return failed("backplane");
    }
    Ok(())
}
