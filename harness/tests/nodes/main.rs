//! Nodes with real firmware, and a master that is none: the pure state machine of `distribution` sits on the bus of
//! the rig as a node of its own.

mod bench;
mod damage;
mod images;
mod offers;
mod population;
mod reboots;
