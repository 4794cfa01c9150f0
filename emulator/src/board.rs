//! One controller board.
