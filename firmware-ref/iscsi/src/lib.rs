//! iSCSI (RFC 7143) without sockets: bytes of a TCP connection in, bytes out.
//!
//! | module | contents | used by |
//! |---|---|---|
//! | [`pdu`] | headers of PDUs, and a reader that finds PDUs in a stream | both ends |
//! | [`text`] | `key=value` texts (§6.1) | both ends |
//! | [`login`] | the target's half of the login phase and what it negotiates | the target |
//! | [`connection`] | the target's half of one connection | the target |
//! | [`portal`] | all connections of a target portal: sessions that replace older ones, resets | the target |
//!
//! One connection a session, error recovery level 0, no digests, no authentication, no markers. A peer that
//! breaks the rules loses its connection; nothing it sends makes anything here panic or grow.
#![cfg_attr(not(test), no_std)]

pub mod connection;
pub mod login;
mod output;
pub mod pdu;
pub mod portal;
pub mod text;

/// TCP port of iSCSI (RFC 7143 §14.1).
pub const TCP_PORT: u16 = 3260;
