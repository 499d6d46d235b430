//! MessageService: SearchMessages and ExplainMessage.

use std::collections::HashMap;

use session_protocol::blake2b;
use sessiond_proto::v1;
use sessiond_proto::v1::search_messages_request::Conversation as Wanted;
use sqlx::Connection as _;
use tonic::Status;

use super::error::{from_store, invalid};
use super::{Api, conversation, message, page};
use crate::convert;
use crate::store::conversations::{self, Selector};
use crate::store::delivery::{self, Explanation, Step};
use crate::store::messages::{self, MessageRow};
use crate::store::search::{self, MAX_QUERY, Query};
use crate::store::{StoreError, events};
use crate::time::timestamp;

/// The list of hits in page tokens.
const HITS: u8 = 4;

fn query(text: &str) -> Result<Query, Status> {
    if text.chars().count() > MAX_QUERY {
        let text = format!("a query has at most {MAX_QUERY} characters");
        return Err(invalid("QUERY_TOO_LONG", text));
    }
    Query::parse(text).ok_or_else(|| {
        invalid(
            "QUERY_EMPTY",
            "the query has no letter, digit or emoji to look for",
        )
    })
}

/// Ties a page token to the query it came from.
fn fingerprint(text: &str, selector: Option<&Selector>) -> i64 {
    let (kind, name) = match selector {
        None => (b"0", ""),
        Some(Selector::Id(id)) => (b"1", id.as_str()),
        Some(Selector::Peer(peer)) => (b"2", peer.as_str()),
    };
    let digest = blake2b::hash32(&[kind, name.as_bytes(), b"\0", text.as_bytes()]);
    digest
        .first_chunk()
        .map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

pub(super) async fn search(
    api: &Api,
    request: v1::SearchMessagesRequest,
) -> Result<v1::SearchMessagesResponse, Status> {
    let account = api.account(&request.account).await?;
    let query = query(&request.query)?;
    let size = page::size(request.page_size)?;
    let selector = match request.conversation {
        None => None,
        Some(Wanted::ConversationId(id)) => Some(Selector::Id(id)),
        Some(Wanted::AccountId(id)) => Some(Selector::Peer(message::account_id(&id)?.to_string())),
    };
    let fingerprint = fingerprint(&request.query, selector.as_ref());
    let before = match page::Token::decode(&request.page_token, HITS)? {
        None => i64::MAX,
        Some((before, of)) if of == fingerprint => before,
        Some(_) => {
            return Err(invalid(
                "PAGE_TOKEN_INVALID",
                "page_token is not one of this query",
            ));
        }
    };
    let context = account.context();
    let now_ms = context.now_ms();
    let read = async {
        let mut connection = context.db.readers().acquire().await?;
        let mut snapshot = connection.begin().await?;
        let seq = events::head(&mut snapshot).await?;
        let within = match &selector {
            None => None,
            Some(selector) => match conversations::get(&mut snapshot, selector).await? {
                Some(row) => Some(row.id),
                None => return Ok(None),
            },
        };
        let hits = search::hits(&mut snapshot, &query, within, before, size + 1, now_ms).await?;
        let rows = messages::by_receive_seqs(&mut snapshot, &hits, now_ms).await?;
        Ok::<_, StoreError>(Some((hits, rows, seq)))
    };
    let (mut hits, rows, seq) = read
        .await
        .map_err(from_store)?
        .ok_or_else(conversation::not_found)?;
    let more = i64::try_from(hits.len()).is_ok_and(|count| count > size);
    hits.truncate(usize::try_from(size).unwrap_or(0));
    let next = hits.last().filter(|_| more).map(|hit| page::Token {
        list: HITS,
        place: (*hit, fingerprint),
    });
    let mut rows: HashMap<i64, MessageRow> =
        rows.into_iter().map(|row| (row.receive_seq, row)).collect();
    let results = hits
        .iter()
        .filter_map(|hit| rows.remove(hit))
        .map(|row| result(&query, &row))
        .collect();
    Ok(v1::SearchMessagesResponse {
        results,
        next_page_token: next.map(page::Token::encode).unwrap_or_default(),
        cursor: account.cursor(seq).encode(),
    })
}

fn result(query: &Query, row: &MessageRow) -> v1::SearchResult {
    let snippet = query.snippet(row.body.as_deref().unwrap_or_default());
    v1::SearchResult {
        message: Some(convert::message(row)),
        matches: snippet
            .matches
            .iter()
            .map(|range| v1::TextRange {
                start: count(range.start),
                length: count(range.len()),
            })
            .collect(),
        snippet: snippet.text,
        cut_before: snippet.cut_before,
        cut_after: snippet.cut_after,
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) async fn explain(
    api: &Api,
    request: v1::ExplainMessageRequest,
) -> Result<v1::ExplainMessageResponse, Status> {
    let account = api.account(&request.account).await?;
    let context = account.context();
    let read = async {
        let mut connection = context.db.readers().acquire().await?;
        let mut snapshot = connection.begin().await?;
        let seq = events::head(&mut snapshot).await?;
        let row = messages::get(&mut snapshot, &request.message_id, context.now_ms()).await?;
        let Some(row) = row else { return Ok(None) };
        let known = delivery::explain(&mut snapshot, row.receive_seq).await?;
        Ok::<_, StoreError>(Some((row, known, seq)))
    };
    let (row, known, seq) = read
        .await
        .map_err(from_store)?
        .ok_or_else(message::not_found)?;
    Ok(v1::ExplainMessageResponse {
        message: Some(convert::message(&row)),
        steps: steps(&row, &known),
        cursor: account.cursor(seq).encode(),
    })
}

/// Everything known, in order of time; what will happen comes last.
fn steps(row: &MessageRow, known: &Explanation) -> Vec<v1::MessageStep> {
    use v1::MessageStepKind as Kind;
    let plain = |kind: Kind, at_ms: i64| v1::MessageStep {
        kind: kind.into(),
        time: timestamp(at_ms),
        count: 1,
        ..Default::default()
    };
    let wire_version = u32::try_from(known.wire_version).unwrap_or(0);
    let mut all: Vec<(i64, v1::MessageStep)> = known
        .steps
        .iter()
        .map(|step| (step.first_ms, sent(step, wire_version)))
        .collect();
    if row.outgoing && known.stored_ms.is_none() {
        all.insert(0, (row.received_ms, plain(Kind::Accepted, row.received_ms)));
    } else {
        if let Some(at_ms) = known.stored_ms {
            let step = v1::MessageStep {
                hash: known.hash.clone().unwrap_or_default(),
                expire_time: known.server_expiry_ms.and_then(timestamp),
                ..plain(Kind::ReachedSwarm, at_ms)
            };
            all.push((at_ms, step));
        }
        let mut step = v1::MessageStep {
            wire_version,
            ..plain(Kind::Received, row.received_ms)
        };
        if let Some(arrival) = &known.arrival {
            step.node_key = hex::encode(&arrival.node);
            step.path_id.clone_from(&arrival.path);
        }
        all.push((row.received_ms, step));
    }
    if row.read_by_peer_ms > 0 {
        let step = plain(Kind::ReadByRecipient, row.read_by_peer_ms);
        all.push((row.read_by_peer_ms, step));
    }
    if let Some(at_ms) = row.expires_at {
        let reason = match known.expiry_type {
            1 => "AFTER_READ",
            _ => "AFTER_SEND",
        };
        let step = v1::MessageStep {
            reason: reason.to_owned(),
            ..plain(Kind::Disappears, at_ms)
        };
        all.push((at_ms, step));
    }
    // Stable: of equal times the order above holds.
    all.sort_by_key(|(at_ms, _)| *at_ms);
    all.into_iter().map(|(_, step)| step).collect()
}

fn sent(step: &Step, wire_version: u32) -> v1::MessageStep {
    let sealed = step.step == delivery::step::SEALED;
    v1::MessageStep {
        kind: i32::try_from(step.step).unwrap_or(0),
        copy: i32::try_from(step.purpose).unwrap_or(0),
        time: timestamp(step.first_ms),
        last_time: timestamp(step.last_ms).filter(|_| step.count > 1),
        count: u32::try_from(step.count).unwrap_or(u32::MAX),
        reason: step.reason.clone(),
        wire_version: if sealed { wire_version } else { 0 },
        hash: step.hash.clone(),
        node_key: step.node.as_ref().map(hex::encode).unwrap_or_default(),
        path_id: step.path.clone(),
        confirmed_by: step.confirmed.chunks(32).map(hex::encode).collect(),
        missed_by: step.missed.chunks(32).map(hex::encode).collect(),
        asked: u32::try_from(step.asked).unwrap_or(0),
        expire_time: step.expiry_ms.and_then(timestamp),
    }
}
