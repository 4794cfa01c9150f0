//! How the controllers of one chassis live together: one is master and owns the logical unit, the
//! others are alternates that take over (VC8, VC10).
//!
//! | module | contents |
//! |---|---|
//! | [`member`] | the state machine of one controller: [`Cluster`] |
//! | [`serving`] | who may serve the logical unit while versions are mixed |
//! | [`action`] | what a controller asks of its surroundings |
//! | [`message`] | what travels on the backplane |
//! | [`interlock`] | what an operator may stop (VC62) |
//! | [`event`] | what is traced |
//!
//! Pure: time, messages and the answers of the midplane's locks go in, [`Action`]s come out. The
//! locks decide, heartbeats only tell when to ask: a controller that resets, loses power or is
//! pulled loses its locks by hardware; from one that hangs they are *taken*, which fences it.
#![cfg_attr(not(test), no_std)]

pub mod action;
pub mod event;
pub mod interlock;
pub mod member;
pub mod message;
pub mod serving;

pub use action::{Action, Lock, LockAnswer, LockVerb};
pub use event::{Cause, Event};
pub use member::{Cluster, Configuration};
pub use message::{Heartbeat, Message, Role, State};
pub use serving::{Declared, Previous};

/// Controllers that a chassis can have.
pub const SLOTS_MAX: usize = 4;

/// Time between two heartbeats.
pub const HEARTBEAT_PERIOD_NS: u64 = 100_000_000;
/// Silence after which a partner counts as lost.
pub const PARTNER_LOSS_NS: u64 = 500_000_000;
