//! What is traced.

use core::fmt;

use image::Version;

use crate::message::Role;

/// Why a role changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The master fell silent.
    PartnerLost,
    /// The master said that it was about to reset.
    PartnerLeft,
    /// The master was put into reset from here.
    PartnerStopped,
    /// The master gave it up for this controller, or this one for another.
    Handover,
    /// Another controller took the master lock.
    Deposed,
}

impl Cause {
    /// The word used in traces: `cause=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::PartnerLost => "partner-lost",
            Cause::PartnerLeft => "partner-left",
            Cause::PartnerStopped => "partner-stopped",
            Cause::Handover => "handover",
            Cause::Deposed => "deposed",
        }
    }
}

/// Something that happened; displays as a trace line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// This controller is ready to serve.
    Operational {
        /// As what.
        role: Role,
        /// Running what.
        version: Version,
    },
    /// It became something else.
    RoleChanged {
        /// What.
        role: Role,
        /// Why.
        cause: Cause,
    },
    /// It owns the logical unit.
    LunOwned {
        /// The fencing token.
        epoch: u64,
    },
    /// It no longer owns the logical unit.
    LunReleased,
    /// It may not own the logical unit (K4).
    LunBarred,
    /// A partner is operational.
    PartnerFound {
        /// Where.
        slot: u8,
        /// Running what.
        version: Version,
    },
    /// A partner is no longer operational.
    PartnerLost {
        /// Where.
        slot: u8,
    },
    /// Two controllers run different versions.
    MixedVersions {
        /// Here.
        own: Version,
        /// There.
        partner: Version,
        /// Whether an upgrade recorded in the array says so.
        declared: bool,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Operational { role, version } => {
                write!(f, "operational role={} version={version}", role.as_str())
            }
            Event::RoleChanged { role, cause } => {
                let (role, cause) = (role.as_str(), cause.as_str());
                write!(f, "role-changed role={role} cause={cause}")
            }
            Event::LunOwned { epoch } => write!(f, "lun-owned lun=0 epoch={epoch}"),
            Event::LunReleased => f.write_str("lun-released lun=0"),
            Event::LunBarred => f.write_str("lun-barred lun=0 cause=mixed-versions"),
            Event::PartnerFound { slot, version } => {
                write!(f, "partner-found slot={slot} version={version}")
            }
            Event::PartnerLost { slot } => write!(f, "partner-lost slot={slot}"),
            Event::MixedVersions {
                own,
                partner,
                declared,
            } => {
                let declared = if *declared { "yes" } else { "no" };
                write!(
                    f,
                    "mixed-versions own={own} partner={partner} declared={declared}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_display_as_trace_lines() {
        let own = "1.0".parse().unwrap();
        let check = |event: Event, line: &str| assert_eq!(event.to_string(), line);
        check(
            Event::Operational {
                role: Role::Master,
                version: own,
            },
            "operational role=master version=1.0",
        );
        check(
            Event::RoleChanged {
                role: Role::Master,
                cause: Cause::PartnerLost,
            },
            "role-changed role=master cause=partner-lost",
        );
        check(
            Event::MixedVersions {
                own,
                partner: "2.0".parse().unwrap(),
                declared: true,
            },
            "mixed-versions own=1.0 partner=2.0 declared=yes",
        );
        check(Event::LunOwned { epoch: 3 }, "lun-owned lun=0 epoch=3");
    }
}
