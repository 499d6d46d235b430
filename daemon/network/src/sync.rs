//! Small helpers around the standard library's locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks even after a panic elsewhere: what the mutexes here protect is valid between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
