//! The operating system's random generator.

use getrandom::SysRng;
use rand_core::UnwrapErr;

/// Generator for keys, nonces and identifiers. It fails only where the kernel has no generator at all.
pub fn os_rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// A new opaque identifier: 128 random bits as 32 hex digits.
pub fn opaque_id() -> String {
    use rand_core::Rng as _;
    let mut bytes = [0; 16];
    os_rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

/// A new opaque identifier of a message: 80 random bits behind the time, so that an index takes new ones at its end.
/// A database that had to put each of them anywhere would write as many pages as messages.
pub fn message_id(now_ms: i64) -> String {
    use rand_core::Rng as _;
    let mut bytes = [0; 16];
    os_rng().fill_bytes(&mut bytes);
    // 48 bits of milliseconds last for 8,900 years.
    bytes[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    hex::encode(bytes)
}
