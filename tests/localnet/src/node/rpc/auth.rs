//! Who signed a request, and whether it may do what it asks for (network.md 4.2).

use session_protocol::Identifier;
use session_protocol::identity::{Prefix, ed25519_to_x25519, verify_ed25519};
use session_protocol::subaccount::Token;

use super::answer::Answer;
use super::params::{BadParam, Params, required};
use crate::node::Node;

/// How far a signed time may be from the node's clock, ms.
const TOLERANCE_MS: u64 = 60_000;
/// The same for a change that took its time by way of another member, ms.
const FORWARDED_TOLERANCE_MS: u64 = 70_000;

/// Bits of a token's second byte.
const READ: u8 = 0x01;
const WRITE: u8 = 0x02;
const DELETE: u8 = 0x04;
const ANY_PREFIX: u8 = 0x08;

/// What a subaccount has to be allowed. Owners are allowed everything.
#[derive(Clone, Copy)]
pub(super) struct Access {
    flags: u8,
    /// A revoked token will do.
    even_revoked: bool,
}

impl Access {
    pub(super) const READ: Self = Self::of(READ);
    pub(super) const WRITE: Self = Self::of(WRITE);
    pub(super) const DELETE: Self = Self::of(DELETE);
    pub(super) const WRITE_AND_DELETE: Self = Self::of(WRITE | DELETE);
    /// For namespaces that cannot be taken away.
    pub(super) const READ_EVEN_REVOKED: Self = Self {
        flags: READ,
        even_revoked: true,
    };

    const fn of(flags: u8) -> Self {
        Self {
            flags,
            even_revoked: false,
        }
    }
}

/// The authentication fields of a request.
pub(super) struct Auth {
    pub signature: Option<[u8; 64]>,
    pub pubkey_ed25519: Option<[u8; 32]>,
    subaccount: Option<Subaccount>,
}

struct Subaccount {
    token: Token,
    owner_signature: [u8; 64],
}

impl Auth {
    pub(super) fn parse(params: &Params<'_>, account: &Identifier) -> Result<Self, BadParam> {
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
        let owner_signature = params.signature("subaccount_sig")?;
        let subaccount = match params.token("subaccount")? {
            None => None,
            Some(token) => Some(Subaccount {
                token,
                owner_signature: required("subaccount_sig", owner_signature)?,
            }),
        };
        Ok(Self {
            signature: params.signature("signature")?,
            pubkey_ed25519,
            subaccount,
        })
    }

    /// Whether the request comes from a subaccount that may not delete.
    pub(super) fn is_limited(&self) -> bool {
        self.subaccount
            .as_ref()
            .is_some_and(|subaccount| flags(&subaccount.token) & DELETE == 0)
    }

    /// Whether the account's owner, or a subaccount with this access, signed `text`.
    async fn verify(
        &self,
        node: &Node,
        account: &Identifier,
        access: Access,
        text: &[u8],
    ) -> Result<bool, sqlx::Error> {
        let Some(owner_key) = self.owner_key(account) else {
            return Ok(false);
        };
        let Some(Subaccount {
            token,
            owner_signature,
        }) = &self.subaccount
        else {
            return Ok(self.is_signed(&owner_key, text));
        };
        if !access.even_revoked && node.store.is_revoked(account, token).await? {
            return Ok(false);
        }
        let flags = flags(token);
        let fits = flags & ANY_PREFIX != 0 || token.as_bytes()[0] == account.prefix.byte();
        Ok(fits
            && flags & access.flags == access.flags
            && verify_ed25519(&owner_key, token.as_bytes(), owner_signature)
            && self.is_signed(&token.key(), text))
    }

    /// As [`Auth::verify`]; the answer to what is not allowed is 401 with the text `refusal`.
    pub(super) async fn demand(
        &self,
        node: &Node,
        account: &Identifier,
        access: Access,
        text: &[u8],
        refusal: &str,
    ) -> Result<(), Answer> {
        match self.verify(node, account, access, text).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Answer::text(401, refusal)),
            Err(error) => Err(Answer::failed(&error)),
        }
    }

    /// Whether the account's owner signed `text`.
    pub(super) fn verify_owner(&self, account: &Identifier, text: &[u8]) -> bool {
        self.owner_key(account)
            .is_some_and(|key| self.is_signed(&key, text))
    }

    fn owner_key(&self, account: &Identifier) -> Option<[u8; 32]> {
        match self.pubkey_ed25519 {
            Some(key) if ed25519_to_x25519(&key) == Some(account.key) => Some(key),
            Some(_) => None,
            // An Ed25519 key itself, as in groups; for other accounts nothing verifies against it.
            None => Some(account.key),
        }
    }

    pub(super) fn is_signed(&self, key: &[u8; 32], text: &[u8]) -> bool {
        self.signature
            .is_some_and(|signature| verify_ed25519(key, text, &signature))
    }
}

fn flags(token: &Token) -> u8 {
    token.as_bytes()[1]
}

/// How far times may be off in a change that a client sent, or another member.
pub(super) fn tolerance_ms(forwarded: bool) -> u64 {
    if forwarded {
        FORWARDED_TOLERANCE_MS
    } else {
        TOLERANCE_MS
    }
}

/// Whether a signed time is near enough.
pub(super) fn is_current(now_ms: u64, timestamp: u64) -> bool {
    now_ms.abs_diff(timestamp) <= TOLERANCE_MS
}
