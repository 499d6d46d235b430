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
