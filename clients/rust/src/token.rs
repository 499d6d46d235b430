//! Client tokens: what makes a repeated call harmless.

use crate::Error;

/// A new client token: 128 random bits as 32 hex digits.
///
/// Keep it and repeat the call with it when the answer was lost: the agent gives the first outcome.
///
/// # Errors
///
/// [`Error::Random`] when the operating system gives no random bytes.
pub fn new_client_token() -> Result<String, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| Error::Random {
        detail: e.to_string(),
    })?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_hex_and_differ() {
        let (a, b) = (new_client_token().unwrap(), new_client_token().unwrap());
        assert_eq!(a.len(), 32);
        assert!(a.bytes().all(|c| c.is_ascii_hexdigit()));
        assert_ne!(a, b);
    }
}
