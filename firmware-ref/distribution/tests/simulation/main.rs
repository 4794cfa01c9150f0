//! Nodes and masters on a bus in memory.
mod broadcasts;
mod images;
mod masters;
mod properties;
mod rig;
mod station;
mod sweep;
mod updates;
