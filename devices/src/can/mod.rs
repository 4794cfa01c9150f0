//! A CAN bus of many nodes: CAN 2.0 and CAN FD as ISO 11898-1:2015 has them, in virtual time.
//!
//! * `frame.rs` — `Frame`: what a frame can be, and its priority.
//! * `bits.rs` — how many bits a frame has on the wire and how long they take; every bit of it.
//! * `error_state.rs` — `ErrorState`: the counters of one node and what they let it do.
//! * `topology.rs` — `Topology`: segments, and the cables that join them to islands.
//! * `bus.rs` — `CanBus`, the core: what can be done to nodes, cables and faults.
//! * `node.rs`, `island.rs` — what a node and a wire are at an instant.
//! * `step.rs`, `plan.rs` — how they go from one to the next: arbitration, and how a frame will end.
//! * `receive.rs` — frames received, kept once for all nodes of an island.
//! * `fault.rs` — `Fault`: what a scenario can make go wrong.
//! * `event.rs` — what timelines and traces are told.
//! * `virtio.rs` — `CanVirtio`, the virtio side of one node (device id 36).
//!
//! ```text
//! send(now) ─► transmit queue ─► arbitration at bus idle ─► frame, ACK ─► log of the island ─► receive
//!                   ▲                                        │
//!                   └──────── error frame, counters ◄────────┘
//! ```
//!
//! A node without a virtio side is driven by the harness itself. Not modelled: overload frames, controllers
//! that know no FD, propagation delay, and bit errors that no receiver can see.

mod bits;
#[cfg(test)]
mod bits_tests;
mod bus;
#[cfg(test)]
mod bus_properties;
#[cfg(test)]
mod bus_tests;
mod error_state;
mod event;
mod fault;
mod frame;
mod island;
mod node;
mod plan;
mod receive;
mod step;
mod topology;
mod virtio;
#[cfg(test)]
mod virtio_tests;

pub use bits::{BitRates, Field, INTERMISSION_BITS, WireBit, WireLength, duration, encode};
pub use bus::CanBus;
pub use error_state::{
    BUS_OFF_LIMIT, Confinement, ErrorState, PASSIVE_LIMIT, RECOVERED_RECEIVE_ERRORS,
    RECOVERY_SEQUENCES, SEQUENCE_BITS, SUSPEND_BITS, WARNING_LIMIT,
};
pub use event::{BusError, BusEvent, Ending, EventKind, FrameRecord, KEPT_EVENTS};
pub use fault::{Effect, Fault, FaultId, Place};
pub use frame::{CLASSIC_DATA_BYTES, FD_DATA_BYTES, Frame, FrameError, Identifier, Kind};
pub use node::{
    Completion, Counters, NodeId, Outcome, RECEIVE_FIFO_FRAMES, Received, SendError,
    TRANSMIT_QUEUE_FRAMES, Ticket,
};
pub use topology::{CableId, IslandId, SegmentId, Topology};
pub use virtio::{CanVirtio, DEVICE_ID};
