//! ConversationService.

use futures_util::future::BoxFuture;
use sessiond_proto::v1;
use sessiond_proto::v1::conversation_service_server::ConversationService;
use sqlx::{Connection as _, SqliteConnection};
use tonic::{Code, Request, Response, Status};

use super::error::{from_action, from_store, invalid, status};
use super::{Api, detached, message, page};
use crate::account::Account;
use crate::actions::change::{self, Changes};
use crate::actions::{ActionError, Actor, approve, expire, read, tell, typing};
use crate::convert;
use crate::store::conversations::{self, Selector};
use crate::store::{StoreError, events};

/// Reads which conversation a request names. Every request has an enum of its own for it.
macro_rules! selector {
    ($selector:expr, $request:ident) => {
        match $selector {
            Some(v1::$request::Selector::ConversationId(id)) => Ok(Selector::Id(id)),
            Some(v1::$request::Selector::AccountId(id)) => {
                message::account_id(&id).map(|id| Selector::Peer(id.to_string()))
            }
            None => Err(invalid(
                "SELECTOR_MISSING",
                "name the conversation by conversation_id or account_id",
            )),
        }
    };
}
pub(super) use selector;

/// Longest nickname, bytes (messages.md 8.1).
const NICKNAME_BYTES: usize = 100;

/// Fields of a conversation that can be changed.
const FIELDS: &str = "nickname, hidden, pin_priority, notify_mode, mute_until_time";

/// Takes over what `fields` name.
fn changes(wanted: &v1::Conversation, fields: &[String]) -> Result<Changes, Status> {
    let unknown = || invalid("CONVERSATION_INVALID", "a field has an impossible value");
    let mut changes = Changes::default();
    for field in fields {
        match field.as_str() {
            "nickname" if wanted.nickname.len() > NICKNAME_BYTES => {
                return Err(invalid(
                    "NICKNAME_TOO_LONG",
                    "a nickname has 100 bytes at most",
                ));
            }
            "nickname" => changes.nickname = Some(wanted.nickname.trim().to_owned()),
            "hidden" => changes.hidden = Some(wanted.hidden),
            "pin_priority" => {
                i32::try_from(wanted.pin_priority).map_err(|_| unknown())?;
                changes.pin_priority = Some(wanted.pin_priority);
            }
            "notify_mode" => {
                v1::NotifyMode::try_from(wanted.notify_mode).map_err(|_| unknown())?;
                changes.notify_mode = Some(wanted.notify_mode.into());
            }
            "mute_until_time" => {
                let ms = wanted.mute_until_time.map_or(Some(0), |time| {
                    let ms = time.seconds.checked_mul(1000)?;
                    ms.checked_add(i64::from(time.nanos) / 1_000_000)
                });
                changes.mute_until_ms = Some(ms.filter(|ms| *ms >= 0).ok_or_else(unknown)?);
            }
            _ => {
                return Err(invalid(
                    "UPDATE_MASK_UNKNOWN_FIELD",
                    format!("these can be changed: {FIELDS}"),
                ));
            }
        }
    }
    if changes == Changes::default() {
        return Err(invalid(
            "UPDATE_MASK_EMPTY",
            "say in update_mask what to change",
        ));
    }
    if changes.hidden == Some(true) && changes.pin_priority.is_some_and(|pin| pin > 0) {
        return Err(unknown());
    }
    Ok(changes)
}

/// The list of conversations in page tokens.
const LIST: u8 = 1;

#[tonic::async_trait]
impl ConversationService for Api {
    async fn list_conversations(
        &self,
        request: Request<v1::ListConversationsRequest>,
    ) -> Result<Response<v1::ListConversationsResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let size = page::size(request.page_size)?;
        let after = page::Token::decode(&request.page_token, LIST)?;
        let context = account.context();
        let read = async {
            let mut connection = context.db.readers().acquire().await?;
            let mut snapshot = connection.begin().await?;
            let seq = events::head(&mut snapshot).await?;
            let unread = conversations::unread_total(&mut snapshot).await?;
            let mut rows = conversations::page(&mut snapshot, after, size + 1).await?;
            let more = i64::try_from(rows.len()).is_ok_and(|count| count > size);
            rows.truncate(usize::try_from(size).unwrap_or(0));
            let next = rows.last().filter(|_| more).map(|row| page::Token {
                list: LIST,
                place: (row.last_activity_ms, row.id),
            });
            let conversations =
                convert::conversations(&mut snapshot, rows, context.now_ms()).await?;
            Ok::<_, StoreError>((conversations, next, unread, seq))
        };
        let (conversations, next, unread, seq) = read.await.map_err(from_store)?;
        Ok(Response::new(v1::ListConversationsResponse {
            conversations,
            next_page_token: next.map(page::Token::encode).unwrap_or_default(),
            cursor: account.cursor(seq).encode(),
            unread_count: u32::try_from(unread).unwrap_or(u32::MAX),
        }))
    }

    async fn get_conversation(
        &self,
        request: Request<v1::GetConversationRequest>,
    ) -> Result<Response<v1::GetConversationResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let selector = selector!(request.selector, get_conversation_request)?;
        let context = account.context();
        let read = async {
            let mut connection = context.db.readers().acquire().await?;
            let mut snapshot = connection.begin().await?;
            let seq = events::head(&mut snapshot).await?;
            let row = conversations::get(&mut snapshot, &selector).await?;
            let rows = row.into_iter().collect();
            let mut found = convert::conversations(&mut snapshot, rows, context.now_ms()).await?;
            Ok::<_, StoreError>((found.pop(), seq))
        };
        let (conversation, seq) = read.await.map_err(from_store)?;
        let conversation = conversation.ok_or_else(not_found)?;
        Ok(Response::new(v1::GetConversationResponse {
            conversation: Some(conversation),
            cursor: account.cursor(seq).encode(),
        }))
    }

    async fn mark_conversation_read(
        &self,
        request: Request<v1::MarkConversationReadRequest>,
    ) -> Result<Response<v1::MarkConversationReadResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let selector = selector!(request.selector, mark_conversation_read_request)?;
        let up_to = Some(request.up_to_message_id).filter(|id| !id.is_empty());
        let read = async {
            let mut connection = account.context().db.readers().acquire().await?;
            conversations::get(&mut connection, &selector).await
        };
        let found = read.await.map_err(|error: StoreError| from_store(error))?;
        if let Some(row) = found {
            account
                .focus()
                .may_mark_read(&row.public_id, &request.focus_lease)
                .map_err(super::focus::held_by_other)?;
        }
        let (row, seq) = account
            .act(move |connection, actor| {
                Box::pin(async move {
                    read::mark_read(connection, actor, &selector, up_to.as_deref()).await
                })
            })
            .await
            .map_err(from_action)?;
        Ok(Response::new(v1::MarkConversationReadResponse {
            conversation: present(&account, &row.public_id).await?,
            cursor: account.cursor(seq).encode(),
        }))
    }

    async fn mark_conversation_unread(
        &self,
        request: Request<v1::MarkConversationUnreadRequest>,
    ) -> Result<Response<v1::MarkConversationUnreadResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let selector = selector!(request.selector, mark_conversation_unread_request)?;
        let (row, seq) = account
            .act(move |connection, actor| {
                Box::pin(async move { read::mark_unread(connection, actor, &selector).await })
            })
            .await
            .map_err(from_action)?;
        Ok(Response::new(v1::MarkConversationUnreadResponse {
            conversation: present(&account, &row.public_id).await?,
            cursor: account.cursor(seq).encode(),
        }))
    }

    async fn accept_conversation(
        &self,
        request: Request<v1::AcceptConversationRequest>,
    ) -> Result<Response<v1::AcceptConversationResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let selector = selector!(request.selector, accept_conversation_request)?;
        let (row, seq) = account
            .act(move |connection, actor| {
                Box::pin(async move { approve::accept(connection, actor, &selector).await })
            })
            .await
            .map_err(from_action)?;
        Ok(Response::new(v1::AcceptConversationResponse {
            conversation: present(&account, &row.public_id).await?,
            cursor: account.cursor(seq).encode(),
        }))
    }

    async fn decline_conversation(
        &self,
        request: Request<v1::DeclineConversationRequest>,
    ) -> Result<Response<v1::DeclineConversationResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let selector = selector!(request.selector, decline_conversation_request)?;
        let block = request.block;
        detached(async move {
            let cursor = in_rounds(&account, move |connection, actor| {
                let selector = selector.clone();
                Box::pin(async move { approve::decline(connection, actor, &selector, block).await })
            })
            .await?;
            Ok(Response::new(v1::DeclineConversationResponse { cursor }))
        })
        .await
    }

    async fn set_conversation_blocked(
        &self,
        request: Request<v1::SetConversationBlockedRequest>,
    ) -> Result<Response<v1::SetConversationBlockedResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let selector = selector!(request.selector, set_conversation_blocked_request)?;
        let blocked = request.blocked;
        let (row, seq) = account
            .act(move |connection, actor| {
                Box::pin(async move {
                    approve::set_blocked(connection, actor, &selector, blocked).await
                })
            })
            .await
            .map_err(from_action)?;
        Ok(Response::new(v1::SetConversationBlockedResponse {
            conversation: present(&account, &row.public_id).await?,
            cursor: account.cursor(seq).encode(),
        }))
    }

    async fn update_conversation(
        &self,
        request: Request<v1::UpdateConversationRequest>,
    ) -> Result<Response<v1::UpdateConversationResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let selector = selector!(request.selector, update_conversation_request)?;
        let fields = request.update_mask.unwrap_or_default().paths;
        let changes = changes(&request.conversation.unwrap_or_default(), &fields)?;
        let (row, seq) = account
            .act(move |connection, actor| {
                Box::pin(async move { change::change(connection, actor, &selector, changes).await })
            })
            .await
            .map_err(from_action)?;
        Ok(Response::new(v1::UpdateConversationResponse {
            conversation: present(&account, &row.public_id).await?,
            cursor: account.cursor(seq).encode(),
        }))
    }

    async fn clear_conversation(
        &self,
        request: Request<v1::ClearConversationRequest>,
    ) -> Result<Response<v1::ClearConversationResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        if request.account.trim().is_empty() {
            return Err(invalid(
                "ACCOUNT_NOT_NAMED",
                "repeat the account's ID: what is cleared does not come back",
            ));
        }
        let selector = selector!(request.selector, clear_conversation_request)?;
        detached(async move {
            let cursor = in_rounds(&account, move |connection, actor| {
                let selector = selector.clone();
                Box::pin(async move { change::clear(connection, actor, &selector).await })
            })
            .await?;
            Ok(Response::new(v1::ClearConversationResponse { cursor }))
        })
        .await
    }

    async fn set_typing(
        &self,
        request: Request<v1::SetTypingRequest>,
    ) -> Result<Response<v1::SetTypingResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let selector = selector!(request.selector, set_typing_request)?;
        let started = request.typing;
        let tell = account
            .act(move |connection, actor| {
                Box::pin(async move { typing::tell(connection, actor, &selector, started).await })
            })
            .await
            .map_err(from_action)?;
        let told = match tell {
            Some(told) => tell::store(account.context(), &told).await.is_ok(),
            None => false,
        };
        Ok(Response::new(v1::SetTypingResponse { told }))
    }

    async fn set_disappearing(
        &self,
        request: Request<v1::SetDisappearingRequest>,
    ) -> Result<Response<v1::SetDisappearingResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let selector = selector!(request.selector, set_disappearing_request)?;
        let setting = disappearing(request.setting)?;
        let (row, seq) = account
            .act(move |connection, actor| {
                Box::pin(async move { expire::set(connection, actor, &selector, setting).await })
            })
            .await
            .map_err(from_action)?;
        Ok(Response::new(v1::SetDisappearingResponse {
            conversation: present(&account, &row.public_id).await?,
            cursor: account.cursor(seq).encode(),
        }))
    }
}

/// Type and seconds of a setting that others know, too; absent is off.
pub(super) fn disappearing(setting: Option<v1::DisappearingSetting>) -> Result<(i64, i64), Status> {
    let wanted = setting.map_or((0, 0), |setting| {
        let timer = setting.timer.unwrap_or_default();
        // Parts of a second are no offered timer.
        let seconds = if timer.nanos == 0 { timer.seconds } else { -1 };
        (i64::from(setting.mode), seconds)
    });
    let known =
        i32::try_from(wanted.0).is_ok_and(|mode| v1::DisappearingMode::try_from(mode).is_ok());
    if known && expire::is_offered(wanted) {
        Ok(wanted)
    } else {
        Err(invalid(
            "TIMER_INVALID",
            "12 h, 1 day, 1 or 2 weeks after sending or reading, or 5 min or 1 h after reading",
        ))
    }
}

/// Removes round by round, as long as there is more, so that other changes come between. What is gone is taken out of the
/// files once, also when a round was refused. Gives the cursor before.
async fn in_rounds<F>(account: &Account, round: F) -> Result<String, Status>
where
    F: for<'c> Fn(
            &'c mut SqliteConnection,
            &'c Actor,
        ) -> BoxFuture<'c, Result<(bool, i64), ActionError>>
        + Clone
        + Send
        + 'static,
{
    let mut first = None;
    let removed = loop {
        match account.act(round.clone()).await {
            Ok((more, seq)) => {
                let seq = *first.get_or_insert(seq);
                if !more {
                    break Ok(seq);
                }
            }
            Err(error) => break Err(error),
        }
    };
    if first.is_some() {
        account.scrub().await.map_err(from_store)?;
    }
    Ok(account.cursor(removed.map_err(from_action)?).encode())
}

/// A conversation as it is now, for an answer.
async fn present(account: &Account, id: &str) -> Result<Option<v1::Conversation>, Status> {
    let context = account.context();
    let read = async {
        let mut connection = context.db.readers().acquire().await?;
        let selector = Selector::Id(id.to_owned());
        let row = conversations::get(&mut connection, &selector).await?;
        let rows = row.into_iter().collect();
        let mut found = convert::conversations(&mut connection, rows, context.now_ms()).await?;
        Ok::<_, StoreError>(found.pop())
    };
    read.await.map_err(from_store)
}

/// NOT_FOUND for a conversation.
pub(super) fn not_found() -> Status {
    status(
        Code::NotFound,
        "CONVERSATION_NOT_FOUND",
        "there is no such conversation",
    )
}
