//! What SQLite itself is told, where only its C interface can: everything here saves work and changes no result.
//!
//! Facts: sqlite.org/c3ref/c_config_memstatus.html and c_dbconfig_defensive.html.
#![allow(unsafe_code)] // two calls of the C interface; nothing safe offers them

use std::ffi::c_int;
use std::sync::Once;

use libsqlite3_sys as ffi;
use sqlx::SqliteConnection;

/// Turns off statistics of memory, which take a lock at each allocation. Counts before the first connection of the
/// process only; later it is refused by SQLite and without effect.
pub fn configure() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let off: c_int = 0;
        // SAFETY: this option takes one int. SQLite refuses the call once it is in use.
        unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, off) };
    });
}

/// Keeps the plans of prepared statements. Without it a statement with a parameter in its condition is prepared anew
/// at every use, in case statistics of the value suggest another plan; we keep no such statistics.
pub async fn keep_plans(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut handle = connection.lock_handle().await?;
    let database = handle.as_raw_handle();
    let (on, nowhere): (c_int, *mut c_int) = (1, std::ptr::null_mut());
    // SAFETY: the handle is open and ours alone while it is locked; this option takes an int and a place for its
    // answer, which may be null.
    let code = unsafe {
        ffi::sqlite3_db_config(
            database.as_ptr(),
            ffi::SQLITE_DBCONFIG_ENABLE_QPSG,
            on,
            nowhere,
        )
    };
    if code == ffi::SQLITE_OK {
        return Ok(());
    }
    let text = format!("a connection cannot be set up: SQLite code {code}");
    Err(sqlx::Error::Configuration(text.into()))
}
