//! What a log may show only to those who asked for details.
//!
//! Logs at error, warn and info hold no text, account ID, key or node address (design.md promise 6). A value that may
//! be or hold one of these is wrapped where it is shown: [`Private`] prints in full everywhere, but prints `…` while
//! this thread writes a log line at one of those levels, however deep in an error it is. Whoever writes log lines says so
//! with [`hide`].

use std::cell::Cell;
use std::fmt;

thread_local! {
    static HIDING: Cell<bool> = const { Cell::new(false) };
}

/// Shown in full, except in log lines at error, warn and info.
pub struct Private<T>(pub T);

/// While it lives, [`Private`] values of this thread print as `…`.
pub struct Hiding {
    before: bool,
}

/// Hides private values until the answer is dropped.
#[must_use]
pub fn hide() -> Hiding {
    Hiding {
        before: HIDING.replace(true),
    }
}

impl Drop for Hiding {
    fn drop(&mut self) {
        HIDING.set(self.before);
    }
}

impl<T: fmt::Display> fmt::Display for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if HIDING.get() {
            f.write_str("…")
        } else {
            self.0.fmt(f)
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if HIDING.get() {
            f.write_str("…")
        } else {
            self.0.fmt(f)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetworkError;

    #[test]
    fn private_values_are_shown_unless_hidden() {
        let error = NetworkError::Rejected {
            code: 403,
            text: "05aa is not yours".to_owned(),
        };
        let shown = "service node refused with 403: 05aa is not yours";
        assert_eq!(error.to_string(), shown);
        {
            let _outer = hide();
            drop(hide());
            assert_eq!(error.to_string(), "service node refused with 403: …");
            assert_eq!(format!("{:?}", Private("x")), "…");
        }
        assert_eq!(error.to_string(), shown);
    }
}
