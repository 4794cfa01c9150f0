use std::path::Path;

use super::{complaint, read};
use crate::cli::exit::CliError;

/// Reads a key of 32 bytes, or of 64 hexadecimal digits.
pub(super) fn key_file(path: &Path) -> Result<[u8; 32], CliError> {
    let bytes = read(path)?;
    if let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice()) {
        return Ok(key);
    }
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    hex_key(text.trim()).ok_or_else(|| {
        let remedy = "make one with: head -c 32 /dev/urandom > secret.key";
        complaint(path, "a key is 32 bytes, or 64 hexadecimal digits", remedy).into()
    })
}

/// Reads 64 hexadecimal digits.
pub(super) fn hex_key(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; 32];
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(key)
}

/// Writes hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
