//! Gives SQLite's full-text index the words of [`super::words`], under the name `session`.
//!
//! The index is kept by triggers inside SQLite, so the cutting has to happen there, too; FTS5 takes a tokenizer only as
//! C functions. It keeps no state: every pointer is used within
//! the call that gives it, and a panic becomes an error code. Facts: sqlite.org/fts5.html, section 7.1.
#![allow(unsafe_code)] // the C interface of FTS5; nothing safe offers it

use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use libsqlite3_sys as ffi;
use sqlx::SqliteConnection;

use super::words::{self, Purpose};

/// Makes the tokenizer known to a connection. Every connection that touches the index needs it.
pub async fn register(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut handle = connection.lock_handle().await?;
    let database = handle.as_raw_handle();
    // SAFETY: the handle is open and ours alone while it is locked.
    match unsafe { register_raw(database) } {
        ffi::SQLITE_OK => Ok(()),
        code => {
            let text = format!("the full-text index cannot be set up: SQLite code {code}");
            Err(sqlx::Error::Configuration(text.into()))
        }
    }
}

/// # Safety
///
/// `database` is an open connection that nobody else uses meanwhile.
unsafe fn register_raw(database: NonNull<ffi::sqlite3>) -> c_int {
    let mut api: *mut ffi::fts5_api = ptr::null_mut();
    let mut statement = ptr::null_mut();
    // SAFETY: `database` is open; the texts end in NUL and live for ever; `api` outlives the statement, which is
    // finalized before this function ends. FTS5 writes its own address into `api`.
    let code = unsafe {
        let mut code = ffi::sqlite3_prepare_v2(
            database.as_ptr(),
            c"SELECT fts5(?1)".as_ptr(),
            -1,
            &raw mut statement,
            ptr::null_mut(),
        );
        if code == ffi::SQLITE_OK {
            code = ffi::sqlite3_bind_pointer(
                statement,
                1,
                (&raw mut api).cast(),
                c"fts5_api_ptr".as_ptr(),
                None,
            );
        }
        if code == ffi::SQLITE_OK {
            ffi::sqlite3_step(statement);
        }
        ffi::sqlite3_finalize(statement);
        code
    };
    if code != ffi::SQLITE_OK {
        return code;
    }
    // SAFETY: either null or FTS5's own structure, which lives as long as the connection.
    let Some(create) = (unsafe { api.as_ref() }).and_then(|api| api.xCreateTokenizer) else {
        return ffi::SQLITE_ERROR;
    };
    let mut functions = ffi::fts5_tokenizer {
        xCreate: Some(open),
        xDelete: Some(close),
        xTokenize: Some(tokenize),
    };
    // SAFETY: FTS5 copies name and functions before it returns.
    unsafe {
        create(
            api,
            c"session".as_ptr(),
            ptr::null_mut(),
            &raw mut functions,
            None,
        )
    }
}

/// There is nothing to keep, but FTS5 wants a pointer that is not null.
unsafe extern "C" fn open(
    _: *mut c_void,
    _: *mut *const c_char,
    _: c_int,
    out: *mut *mut ffi::Fts5Tokenizer,
) -> c_int {
    // SAFETY: FTS5 gives a place for the result.
    unsafe { out.write(NonNull::dangling().as_ptr()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(_: *mut ffi::Fts5Tokenizer) {}

type Found = unsafe extern "C" fn(*mut c_void, c_int, *const c_char, c_int, c_int, c_int) -> c_int;

unsafe extern "C" fn tokenize(
    _: *mut ffi::Fts5Tokenizer,
    context: *mut c_void,
    flags: c_int,
    text: *const c_char,
    length: c_int,
    found: Option<Found>,
) -> c_int {
    let (Some(found), Ok(length)) = (found, usize::try_from(length)) else {
        return ffi::SQLITE_ERROR;
    };
    if text.is_null() || length == 0 {
        return ffi::SQLITE_OK;
    }
    // SAFETY: FTS5 gives `length` bytes that stay as they are during the call.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    let purpose = if flags & ffi::FTS5_TOKENIZE_QUERY == 0 {
        Purpose::Document
    } else {
        Purpose::Query
    };
    catch_unwind(AssertUnwindSafe(|| {
        // SQLite does not check what is UTF-8.
        let text = String::from_utf8_lossy(bytes);
        let mut code = ffi::SQLITE_OK;
        words::each(&text, purpose, |entry, range| {
            let number = |value: usize| c_int::try_from(value).unwrap_or(c_int::MAX);
            // SAFETY: FTS5 copies the entry before it returns; `context` is its own.
            code = unsafe {
                found(
                    context,
                    0,
                    entry.as_ptr().cast(),
                    number(entry.len()),
                    number(range.start),
                    number(range.end),
                )
            };
            code == ffi::SQLITE_OK
        });
        code
    }))
    .unwrap_or(ffi::SQLITE_ERROR)
}
