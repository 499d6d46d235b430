//! What others and our other devices send, sealed and stored as in our swarm.

use session_network::StoredMessage;
use session_protocol::content::{Expiration, ExpirationMode, Frame, Kind, Profile};
use session_protocol::storage::message_hash;
use session_protocol::{AccountId, AccountKeys, envelope};
use sessiond::random::os_rng;
use sessiond::sync::receive::{self, Unit};

use crate::common::{Rig, keys};

const DAY_MS: u64 = 86_400_000;

/// A message on its way.
#[derive(Clone)]
pub struct Say {
    from: u8,
    kind: Kind,
    at: i64,
    to: Option<AccountId>,
    expiration: Option<Expiration>,
    profile: Option<Profile>,
    stored_for_ms: u64,
}

/// Account `from` says something to us at a time.
pub fn say(from: u8, at: i64, kind: Kind) -> Say {
    Say {
        from,
        kind,
        at,
        to: None,
        expiration: None,
        profile: None,
        stored_for_ms: 14 * DAY_MS,
    }
}

impl Say {
    /// The copy that our other device made of what it sent to `peer`.
    pub fn copied_to(self, peer: u8) -> Self {
        Self {
            to: Some(keys(peer).account_id()),
            ..self
        }
    }

    pub fn disappearing(self, mode: ExpirationMode, timer_s: u32) -> Self {
        Self {
            expiration: Some(Expiration { mode, timer_s }),
            ..self
        }
    }

    pub fn stored_for(self, ms: u64) -> Self {
        Self {
            stored_for_ms: ms,
            ..self
        }
    }

    pub fn with_profile(self, profile: Profile) -> Self {
        Self {
            profile: Some(profile),
            ..self
        }
    }

    /// As it lies in our swarm.
    pub fn stored(&self) -> StoredMessage {
        let timestamp_ms = u64::try_from(self.at).unwrap();
        let frame = Frame {
            timestamp_ms,
            expiration: self.expiration,
            profile: self.profile.as_ref(),
        };
        let content = match &self.to {
            Some(to) => self.kind.write_sync_copy(&frame, to).unwrap().unwrap(),
            None => self.kind.write(&frame).unwrap(),
        };
        let data = sealed(&keys(self.from), timestamp_ms, &content);
        StoredMessage {
            expiration: timestamp_ms + self.stored_for_ms,
            ..stored(timestamp_ms, data)
        }
    }
}

/// Content sealed to us.
pub fn sealed(from: &AccountKeys, at: u64, content: &[u8]) -> Vec<u8> {
    envelope::seal(&mut os_rng(), from, &keys(1).account_id(), at, content).unwrap()
}

/// Bytes as they lie in our swarm.
pub fn stored(timestamp: u64, data: Vec<u8>) -> StoredMessage {
    let own = keys(1).account_id();
    StoredMessage {
        hash: message_hash(&own.into(), receive::own_inbox(&own).namespace, &data),
        timestamp,
        expiration: timestamp + 14 * DAY_MS,
        data: Some(data),
    }
}

impl Rig {
    /// Applies what was said as one unit; returns how many entries are new.
    pub async fn hear(&self, said: &[Say]) -> u32 {
        self.apply(said.iter().map(Say::stored).collect()).await
    }

    /// Applies what lies in the swarm as one unit; returns how many entries are new.
    pub async fn apply(&self, messages: Vec<StoredMessage>) -> u32 {
        let place = receive::own_inbox(&self.context.account_id());
        let unit = Unit {
            node: [7; 32],
            path: String::new(),
            place,
            messages,
        };
        receive::apply(&self.context, unit).await.unwrap()
    }

    /// How often something was refused for a reason.
    pub async fn refused(&self, reason: &str) -> i64 {
        sqlx::query_scalar("SELECT coalesce((SELECT value FROM counter WHERE name = ?), 0)")
            .bind(reason.to_owned())
            .fetch_one(self.context.db.readers())
            .await
            .unwrap()
    }
}
