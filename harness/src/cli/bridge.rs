//! `--can-bridge`, where a bus can have one.

use clap::Args;

use crate::can_bridge::{BridgeError, Interface};

/// A CAN interface of this machine on the simulated bus.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct CanBridge {
    /// Join a SocketCAN interface of this machine to the bus: its frames come in, those of the bus go out
    #[arg(long, value_name = "INTERFACE")]
    can_bridge: Option<String>,
}

impl CanBridge {
    /// Its name, if one was asked for.
    pub(super) fn name(&self) -> Option<&str> {
        self.can_bridge.as_deref()
    }

    /// The interface, if one was asked for.
    pub(super) fn open(&self) -> Result<Option<Interface>, BridgeError> {
        self.name().map(Interface::open).transpose()
    }
}
