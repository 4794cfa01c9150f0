//! What the boot ROM and the images of a CAN node share: who the node is, its bus, and what one hands over
//! to the other.
//!
//! Pure but for [`Bus`] and the hand-over page, which stand on the board's drivers.
#![cfg_attr(not(test), no_std)]

mod bus;
mod handover;

pub use bus::{Bus, PACE_NS};
pub use handover::Handover;

use distribution::{Identity, Module};

/// Who a node is, by what its board control says (board manual §5.1, §5.2): its number on the bus, its
/// straps, and its boots. Nothing if the straps tell no type.
pub fn identity(board: &runtime::Identity) -> Option<Identity> {
    let [module, set, ..] = board.straps.0.to_le_bytes();
    let [boots, ..] = board.boots.to_le_bytes();
    Some(Identity {
        node: board.slot,
        module: Module::from_number(module).filter(|it| *it != Module::Master)?,
        set,
        boots,
    })
}

/// Whether the node's requests tell its type (CD17): a strap says when not (board manual §11).
pub fn tells_type(board: &runtime::Identity) -> bool {
    board.straps.0 & 1 << 16 == 0
}
