//! Answers that are lists.

use core::fmt;

use boot::{Bank, Level, Preferred, PreferredSource};
use cluster::Role;
use embedded_storage::nor_flash::ReadNorFlash;
use image::{Defect, HEADER_SIZE, ImageHeader, PartReader, ReadAt};
use runtime::Source;
use system_area::{BlockDevice, Condition};

use super::Letter;
use crate::application::Context;
use crate::calendar::Calendar;
use crate::chassis::Chassis;
use crate::host_port::blocks;
use crate::source::{Store, look};

/// A role as operators read it.
fn role(role: Option<Role>) -> &'static str {
    role.map_or("service", Role::as_str)
}

/// `ver`: the version belongs to the array (VC6), banks to controllers.
pub(super) fn versions(context: &mut Context<'_>, chassis: &Chassis) {
    let hardware = context.hardware;
    let preferred = match look(hardware, context.work) {
        Condition::Present(catalogue) => catalogue.preferred().map(|entry| entry.package.version),
        _ => None,
    };
    match preferred {
        Some(version) => hardware.say(format_args!("system version {version}")),
        None => hardware.say(format_args!("system version unknown")),
    }
    for slot in chassis.slots() {
        let own = slot == hardware.slot();
        let version = if own {
            Some(context.running.version)
        } else {
            chassis.cluster().version_of(slot)
        };
        if let Some(version) = version {
            let role = role(chassis.cluster().role_of(slot));
            hardware.say(format_args!(
                "controller {} version {version} {role}",
                Letter(slot)
            ));
        }
        if own {
            banks(context);
        }
    }
}

fn banks(context: &Context<'_>) {
    let hardware = context.hardware;
    for level in Level::ALL {
        for bank in Bank::ALL {
            let mut header = [0; HEADER_SIZE];
            let read = hardware
                .bank(level, bank)
                .ok_or(Defect::Unreadable)
                .and_then(|mut flash| {
                    let read = flash.read(0, &mut header);
                    read.map_err(|_| Defect::Unreadable)
                });
            let booted = match level {
                Level::L2 => context.running.l2_bank,
                Level::L3 => context.running.l3_bank,
            };
            let mark = if booted == next_level::name(bank) {
                " booted"
            } else {
                ""
            };
            let name = (level.as_str(), bank);
            match read.and_then(|()| ImageHeader::parse(&header)) {
                Ok(header) => hardware.say(format_args!(
                    "  L{}{} {} stored {}{mark}",
                    name.0,
                    name.1,
                    header.version,
                    Calendar(header.record.programmed_s)
                )),
                Err(defect) => hardware.say(format_args!(
                    "  L{}{} not valid: {}",
                    name.0,
                    name.1,
                    hardware.heard(level, bank, defect).as_str()
                )),
            }
        }
    }
}

/// `ver -p`: what the preferred package carries (VC7), wherever it lives.
pub(super) fn package(context: &mut Context<'_>) {
    let hardware = context.hardware;
    let mut store = Store::open(hardware, context.work);
    let (Preferred::Present(package), Some(mut reader)) = (store.preferred(), store.reader())
    else {
        hardware.say(format_args!("package unknown"));
        return;
    };
    hardware.say(format_args!("package {}", package.version));
    for part in package.parts() {
        let (kind, version) = (part.kind, part.version);
        let mut header = [0; HEADER_SIZE];
        let read = PartReader::new(&mut reader, part).read_at(0, &mut header);
        match read
            .map_err(Defect::from)
            .and_then(|()| ImageHeader::parse(&header))
        {
            Ok(header) => {
                let carried = Components(&header);
                hardware.say(format_args!("  {kind} {version}: {carried}"));
            }
            Err(defect) => {
                let cause = defect.as_str();
                hardware.say(format_args!("  {kind} {version} not valid: {cause}"));
            }
        }
    }
}

/// What an image is made of: `boot, drivers`.
struct Components<'a>(&'a ImageHeader);

impl fmt::Display for Components<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for component in self.0.components() {
            write!(f, "{between}{}", component.kind.as_str())?;
            between = ", ";
        }
        if between.is_empty() {
            f.write_str("nothing named")?;
        }
        Ok(())
    }
}

/// `fru list`
pub(super) fn units(context: &Context<'_>, chassis: &Chassis) {
    let hardware = context.hardware;
    for slot in chassis.slots() {
        if slot == hardware.slot() {
            let serial = hardware.control.identity().serial_text();
            hardware.say(format_args!(
                "controller {} present serial {serial}",
                Letter(slot)
            ));
            continue;
        }
        let state = match chassis.neighbour(context, slot) {
            Some(n) if n.present && n.held => "present disabled",
            Some(n) if n.present && n.powered => "present",
            Some(n) if n.present => "present off",
            _ => "absent",
        };
        hardware.say(format_args!("controller {} {state}", Letter(slot)));
    }
    hardware.say(format_args!(
        "shelf {}",
        Capacity(hardware.array().sectors())
    ));
    hardware.say(format_args!(
        "media {}",
        Capacity(hardware.media().sectors())
    ));
}

struct Capacity(u64);

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("absent"),
            sectors => write!(f, "present sectors {sectors}"),
        }
    }
}

/// `sys list`
pub(super) fn settings(context: &mut Context<'_>, chassis: &Chassis) {
    let hardware = context.hardware;
    let identity = hardware.control.identity();
    let straps = identity.straps;
    let yes = |set: bool| if set { "yes" } else { "no" };
    let source = match straps.source() {
        Source::Array | Source::Reserved => "array",
        Source::ServiceMedia => "service-media",
        Source::Partner => "partner",
    };
    match look(hardware, context.work) {
        Condition::Present(catalogue) => {
            hardware.say(format_args!("array {:016x}", catalogue.array_identity));
            for entry in catalogue.entries() {
                let preferred = catalogue.preferred() == Some(entry);
                hardware.say(format_args!(
                    "package {} installed {}{}",
                    entry.package.version,
                    Calendar(entry.installed_s),
                    if preferred { " preferred" } else { "" }
                ));
            }
        }
        _ => hardware.say(format_args!("array unknown")),
    }
    hardware.say(format_args!("controllers {}", chassis.slots().count()));
    hardware.say(format_args!("source {source}"));
    hardware.say(format_args!("follow-l2 {}", yes(straps.follow_l2())));
    hardware.say(format_args!("newest-wins {}", yes(straps.newest_wins())));
    let demanded = yes(straps.require_signature());
    hardware.say(format_args!("require-signature {demanded}"));
    if straps.baseline_download() {
        hardware.say(format_args!("baseline download"));
    } else if straps.baseline_no_compare() {
        hardware.say(format_args!("baseline no-compare"));
    }
    let time = Calendar(hardware.control.calendar_s());
    hardware.say(format_args!("time {time}"));
}

/// `lun list`
pub(super) fn luns(context: &Context<'_>, chassis: &Chassis) {
    let hardware = context.hardware;
    let blocks = blocks(hardware);
    let owner = chassis
        .slots()
        .find(|slot| chassis.cluster().serves_lun(*slot));
    match owner {
        Some(slot) => hardware.say(format_args!("lun 0 blocks {blocks} owner {}", Letter(slot))),
        None => hardware.say(format_args!("lun 0 blocks {blocks} owner none")),
    }
}
