//! Who signed a request (network.md 4.2).

use base64::Engine as _;
use session_protocol::Identifier;
use session_protocol::identity::{Prefix, ed25519_to_x25519, verify_ed25519};

use super::params::{BASE64, BadParam, Params};

/// How far a signed time may be from the node's clock, ms.
const TOLERANCE_MS: u64 = 60_000;

/// The authentication fields of a request.
pub(super) struct Auth {
    pub signature: Option<[u8; 64]>,
    pub pubkey_ed25519: Option<[u8; 32]>,
}

impl Auth {
    pub(super) fn parse(params: &Params<'_>, account: &Identifier) -> Result<Self, BadParam> {
        let bad_signature = || BadParam::invalid("signature", "base64 of 64 bytes");
        let signature = match params.text("signature")? {
            None => None,
            Some(text) if matches!(text.len(), 86 | 88) => {
                let bytes = BASE64.decode(text).map_err(|_| bad_signature())?;
                Some(bytes.try_into().map_err(|_| bad_signature())?)
            }
            Some(_) => return Err(bad_signature()),
        };
        let pubkey_ed25519 = match params.text("pubkey_ed25519")? {
            None => None,
            Some(text) => {
                let mut key = [0; 32];
                hex::decode_to_slice(text, &mut key)
                    .map_err(|_| BadParam::invalid("pubkey_ed25519", "64 hex digits"))?;
                Some(key)
            }
        };
        if pubkey_ed25519.is_some() && account.prefix != Prefix::Standard {
            let text = "pubkey_ed25519 is only permitted for 05[...] pubkeys";
            return Err(BadParam(text.into()));
        }
        for name in ["subaccount", "subaccount_sig"] {
            if params.get(name).is_some() {
                return Err(BadParam(format!(
                    "{name} is not served by this local network"
                )));
            }
        }
        Ok(Self {
            signature,
            pubkey_ed25519,
        })
    }

    /// Whether the account's owner signed `text`.
    pub(super) fn verify(&self, account: &Identifier, text: &str) -> bool {
        let key = match &self.pubkey_ed25519 {
            Some(key) if ed25519_to_x25519(key) == Some(account.key) => key,
            Some(_) => return false,
            // An Ed25519 key itself, as in groups; for other accounts nothing verifies against it.
            None => &account.key,
        };
        let Some(signature) = &self.signature else {
            return false;
        };
        verify_ed25519(key, text.as_bytes(), signature)
    }
}

/// Whether a signed time is near enough.
pub(super) fn is_current(now_ms: u64, timestamp: u64) -> bool {
    now_ms.abs_diff(timestamp) <= TOLERANCE_MS
}
