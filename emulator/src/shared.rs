//! The cores that several boards share.

use devices::can::CanBus;
use devices::midplane::Midplane;
use devices::network::Segment;
use devices::service_media::ServiceMedia;
use devices::shelf::Shelf;
use serde::{Deserialize, Serialize};

/// What all boards of a chassis work on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shared {
    /// Locks, hold lines, calendar.
    pub midplane: Midplane,
    /// The RAID shelf.
    pub shelf: Shelf,
    /// The slot an operator puts an upgrade package in.
    pub media: ServiceMedia,
    /// The backplane link: port n is controller slot n.
    pub backplane: Segment,
    /// The CAN bus, if there is one: its nodes are the controller slots, then the nodes.
    pub can: Option<CanBus>,
    /// The host link: port n is controller slot n, the last port is the host.
    pub hosts: Segment,
}
