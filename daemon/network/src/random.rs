//! The operating system's randomness, and choosing with it.

use std::sync::{Mutex, MutexGuard};

use getrandom::SysRng;
use rand_core::{Rng, UnwrapErr};

use crate::sync::lock;

/// The operating system's generator. It panics where the system has no randomness to give: nothing secret can
/// be done there.
pub(crate) fn system() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// A generator for choices among nodes and paths. The system's, except where a test must be repeatable.
pub(crate) struct Choices(Mutex<Box<dyn Rng + Send>>);

impl Choices {
    pub(crate) fn new(rng: impl Rng + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(rng)))
    }

    /// The generator, for one choice.
    pub(crate) fn get(&self) -> MutexGuard<'_, Box<dyn Rng + Send>> {
        lock(&self.0)
    }
}

/// A number below `bound`; 0 for a bound of 0. The bias is below 2^-32 for every list that fits into memory here.
pub(crate) fn below<R: Rng + ?Sized>(rng: &mut R, bound: usize) -> usize {
    let wide = u128::from(rng.next_u64()) * bound as u128;
    // The upper half of a product of a u64 and a usize is below that usize.
    (wide >> 64) as usize
}

/// Puts a list into random order.
pub(crate) fn shuffle<T, R: Rng + ?Sized>(rng: &mut R, list: &mut [T]) {
    for last in (1..list.len()).rev() {
        list.swap(last, below(rng, last + 1));
    }
}

/// One of the list.
pub(crate) fn pick<'a, T, R: Rng + ?Sized>(rng: &mut R, list: &'a [T]) -> Option<&'a T> {
    list.get(below(rng, list.len()))
}

/// A short random name.
pub(crate) fn name<R: Rng + ?Sized>(rng: &mut R) -> String {
    let mut bytes = [0; 6];
    rng.fill_bytes(&mut bytes);
    hex::encode(bytes)
}
