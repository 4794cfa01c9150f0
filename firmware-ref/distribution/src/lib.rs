//! Code images for the nodes of a CAN bus: a node keeps a boot program only, asks for its image when
//! it boots, and takes it from what a master broadcasts to all of them at once.
//!
//! Rows CD1 to CD63 and rulings K3, K8, K17, K18, K29. Steps are those of the image distribution
//! patent's figures 5 (300 to 350, from request to running image) and 6 (360 to 390, update of
//! redundant sets).
//!
//! | module | contents | who |
//! |---|---|---|
//! | [`module`] | kinds of modules, identities, versions as told on the bus | all |
//! | [`message`] | what travels on the bus | all |
//! | [`container`] | one image or several, with a table of contents | all |
//! | [`receiver`] | the boot ROM: [`Receiver`] | nodes |
//! | [`running`] | what a node's image does with the bus: [`Running`] | nodes |
//! | [`node`] | what a node's programs ask of their surroundings | nodes |
//! | [`configuration`] | what a master is told and asks for: [`Configuration`], [`Library`] | masters |
//! | [`master`] | collects requests, waits, broadcasts, updates: [`Master`] | masters |
//! | [`window`] | how long a master waits | masters |
//! | [`update`] | one redundant set after another | masters |
//! | [`mastership`] | which master is active | masters |
//! | [`event`] | what is traced | all |
//!
//! Pure: time and frames go in, actions come out. Nodes answer for nothing: a broadcast has no
//! acknowledgement, so a node that did not get all of it says nothing and asks again (K29).
#![cfg_attr(not(test), no_std)]

mod codec;
pub mod configuration;
pub mod container;
mod epoch;
pub mod event;
mod frame;
pub mod master;
pub mod mastership;
pub mod message;
pub mod module;
pub mod node;
mod nodes;
pub mod receiver;
pub mod running;
mod sender;
mod serving;
mod sum;
pub mod update;
pub mod window;

pub use configuration::{Configuration, Edition, Library, MasterAction, Offer};
pub use container::{Contents, Defect, Part};
pub use epoch::Epoch;
pub use event::{MasterEvent, NodeEvent};
pub use master::Master;
pub use mastership::Authority;
pub use message::{Classes, Frame, Message};
pub use module::{Content, Identity, Module, VersionTag};
pub use node::{Memory, NodeAction};
pub use receiver::Receiver;
pub use running::Running;
pub use sum::{Crc32, Digest};
pub use update::{Order, RebootBy, Rollout};
pub use window::{Timing, Wait};

/// Time between two heartbeats of a master.
pub const HEARTBEAT_PERIOD_NS: u64 = 100_000_000;
/// Silence after which the active master counts as lost.
pub const MASTER_LOSS_NS: u64 = 500_000_000;
/// After an unanswered request a node asks again this much later, and its own spread.
pub const REQUEST_RETRY_NS: u64 = 2_000_000_000;
/// After a damaged broadcast it asks again this much later, and its own spread.
pub const DAMAGE_RETRY_NS: u64 = 50_000_000;
/// Between the start of a broadcast and its first fragment: nodes that are asleep for fragments wake
/// up, and frames may be handed to their programs this late.
pub const START_GAP_NS: u64 = 20_000_000;
/// Silence in the middle of a broadcast after which it counts as given up.
pub const SILENCE_NS: u64 = 300_000_000;
/// The most that a master may leave between two fragments, well within [`SILENCE_NS`].
pub const FRAME_GAP_MAX_NS: u64 = 100_000_000;
/// How long the newest epoch heard bars older ones. Not for ever: masters that lost power together begin
/// anew.
pub const EPOCH_MEMORY_NS: u64 = 5_000_000_000;
/// How long a master waits for all nodes to report.
pub const REPORT_NS: u64 = 300_000_000;

/// Set of the masters, which are no members of any set that is updated.
pub const MASTER_SET: u8 = 255;

/// CRC-32 as in IEEE 802.3, over tables of contents, parts and whole broadcasts.
pub const CRC32: Crc32 = Crc32;
