//! Looks whether another device of the account went over to version 2 of the protocol: from then on others write to keys
//! that this program does not have, and the owner must know.
//!
//! Two small reads of the own swarm at the start and every six hours, and when a payload of a later version came, then at
//! most every ten minutes. Only what the account signed counts: anybody can send such a payload. Nothing is ever stored
//! to those namespaces, deleted from them or kept longer there.
//!
//! Facts: v2.md 9.1 (signs), 9.2 (the warning), 9.3 (what must not be done).

use std::collections::HashMap;
use std::time::Duration;

use session_network::{NetworkError, StoredMessage};
use session_protocol::storage::Namespace;
use session_protocol::v2::{self, DeviceMessage};
use session_protocol::{AccountKeys, Identifier};

use super::Context;
use crate::store::StoreError;
use crate::store::signs::{self, kind};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(6 * 3600);
/// Between two looks that payloads of a later version give rise to.
const AT_MOST: Duration = Duration::from_secs(600);
/// After a look that the network did not let through.
const AGAIN: Duration = Duration::from_secs(60);

/// Looks now and then until the agent stops.
pub async fn run(context: Context) {
    let mut status = context.network.watch();
    loop {
        // Without a path every look would be in vain.
        tokio::select! {
            () = context.stopped() => return,
            Ok(_) = status.wait_for(|status| status.path_count > 0) => {}
        }
        let looked = tokio::select! {
            () = context.stopped() => return,
            looked = look(&context) => looked,
        };
        let (least, pause) = match looked {
            Ok(()) => (AT_MOST, EVERY),
            Err(error) => {
                tracing::debug!(%error, "signs of version 2 could not be looked for");
                (AGAIN, AGAIN)
            }
        };
        // A payload that came meanwhile is not forgotten: one notice waits.
        tokio::select! {
            () = context.stopped() => return,
            () = tokio::time::sleep(least) => {}
        }
        tokio::select! {
            () = context.stopped() => return,
            () = context.later_version_seen.notified() => {}
            () = tokio::time::sleep(pause.saturating_sub(least)) => {}
        }
    }
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

async fn look(context: &Context) -> Result<(), LookError> {
    let owner = Identifier::from(context.account_id());
    let keys = context
        .network
        .retrieve_public(context.isolation, &owner, Namespace::ACCOUNT_PUBKEYS)
        .await?;
    // The answer ends well before the largest group of devices could fill it.
    let devices = context
        .network
        .retrieve(
            context.isolation,
            &context.keys,
            Namespace::DEVICES,
            &HashMap::new(),
            None,
        )
        .await?
        .messages;
    let found = [
        (kind::KEYS, has_keys(&context.keys, &keys)),
        (kind::DEVICES, has_devices(&context.keys, &devices)),
    ];
    let now_ms = context.now_ms();
    let changed = context
        .db
        .writer()
        .call(move |connection| {
            Box::pin(async move { signs::looked(connection, &found, now_ms).await })
        })
        .await?;
    if changed {
        tracing::warn!(
            "another device of this account began or ceased to use version 2 of the protocol; see status"
        );
    }
    Ok(())
}

fn has_keys(own: &AccountKeys, messages: &[StoredMessage]) -> bool {
    messages
        .iter()
        .filter_map(|message| message.data.as_deref())
        .any(|data| v2::account_keys(&own.account_id(), data).is_ok())
}

fn has_devices(own: &AccountKeys, messages: &[StoredMessage]) -> bool {
    messages
        .iter()
        .filter_map(|message| message.data.as_deref())
        .any(|data| {
            matches!(
                v2::device_message(&own.ed25519_public(), data),
                Ok(DeviceMessage::Group { .. })
            )
        })
}
