//! MessageService.

use session_protocol::content::Invitation;
use session_protocol::{AccountId, content};
use sessiond_proto::v1::list_messages_request::Conversation as Wanted;
use sessiond_proto::v1::message_service_server::MessageService;
use sessiond_proto::v1::{self, DeleteScope, ListOrder};
use sqlx::Connection as _;
use tonic::{Code, Request, Response, Status};

use super::error::{from_action, from_store, invalid, status};
use super::{Api, conversation, detached, page, search};
use crate::actions::delete::{self, Scope};
use crate::actions::send::Draft;
use crate::actions::{extraction, outgoing, react};
use crate::convert;
use crate::store::conversations::{self, Selector};
use crate::store::messages::{self, MessageRow};
use crate::store::{StoreError, events};

/// Most bytes of a client token.
const MAX_TOKEN: usize = 128;
/// Lists in page tokens.
const NEWEST_FIRST: u8 = 2;
const OLDEST_FIRST: u8 = 3;

/// Reads an account ID that a caller gave.
pub(super) fn account_id(text: &str) -> Result<AccountId, Status> {
    AccountId::from_input(&text.to_lowercase())
        .map_err(|error| invalid("INVALID_ACCOUNT_ID", format!("the account ID {error}")))
}

/// A client token where one may be left out.
pub(super) fn optional_token(token: String) -> Result<String, Status> {
    if token.len() > MAX_TOKEN {
        let text = format!("a client token has at most {MAX_TOKEN} bytes");
        return Err(invalid("CLIENT_TOKEN_TOO_LONG", text));
    }
    Ok(token)
}

/// URL and title of a preview that others will show (messages.md 6.4).
fn preview(preview: v1::LinkPreview, body: &str) -> Result<(String, String), Status> {
    let v1::LinkPreview { url, title } = preview;
    if url.starts_with("https://") && body.contains(&url) && !title.is_empty() {
        Ok((url, title))
    } else {
        Err(invalid(
            "PREVIEW_INVALID",
            "a preview has a title and an https address that stands in the body",
        ))
    }
}

/// Most bytes of a community's join URL.
const MAX_URL: usize = 1_000;
/// Most code points of a community's name.
const MAX_ROOM_NAME: usize = 100;

/// URL and name of a community that others can join (messages.md 6.17).
fn invitation(wanted: v1::CommunityInvitationContent) -> Result<(String, String), Status> {
    let v1::CommunityInvitationContent { url, name } = wanted;
    let name = name.trim().to_owned();
    let refused = |text| Err(invalid("INVITATION_INVALID", text));
    if url.len() > MAX_URL || !Invitation::is_join_url(&url) {
        return refused(format!(
            "a community is joined by https://HOST/ROOM?public_key= and 64 hex digits, {MAX_URL} bytes at most"
        ));
    }
    if !(1..=MAX_ROOM_NAME).contains(&name.chars().count()) {
        return refused(format!(
            "the name of a community has 1 to {MAX_ROOM_NAME} characters"
        ));
    }
    Ok((url, name))
}

fn text_body(body: String) -> Result<String, Status> {
    if body.trim().is_empty() {
        return Err(invalid("BODY_EMPTY", "the message has no text"));
    }
    let length = body.chars().count();
    if length > content::MAX_SENT_BODY {
        return Err(invalid(
            "BODY_TOO_LONG",
            format!(
                "a message has at most {} characters, this one has {length}",
                content::MAX_SENT_BODY
            ),
        ));
    }
    Ok(body)
}

/// What a List call read.
struct Page {
    rows: Vec<MessageRow>,
    more: bool,
    seq: i64,
}

/// Where a page begins.
enum From {
    End,
    Place(messages::Place),
    Anchor(String),
}

#[tonic::async_trait]
impl MessageService for Api {
    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let recipient = account_id(&request.recipient)?;
        if request.text.is_some() && request.community_invitation.is_some() {
            return Err(invalid(
                "CONTENT_AMBIGUOUS",
                "a message is a text or an invitation, not both",
            ));
        }
        let invitation = request.community_invitation.map(invitation).transpose()?;
        let text = request.text.unwrap_or_default();
        let quote = text.quote.map(|quote| quote.message_id);
        let body = match invitation {
            Some(_) => String::new(),
            None => text_body(text.body)?,
        };
        let preview = text.preview.map(|it| preview(it, &body)).transpose()?;
        let token = optional_token(request.client_token)?;
        if token.is_empty() {
            return Err(invalid(
                "CLIENT_TOKEN_MISSING",
                "choose a client_token, so that repeating this call cannot send twice",
            ));
        }
        let wanted = request.disappearing;
        let expiry = wanted
            .map(|it| conversation::disappearing(Some(it)))
            .transpose()?;
        let draft = Draft {
            body,
            quote,
            preview,
            invitation,
            expiry,
            token,
        };
        let accepted = account.send(recipient, draft).await.map_err(from_action)?;
        Ok(Response::new(v1::SendMessageResponse {
            message: Some(convert::message(&accepted.message)),
            cursor: accepted.cursor.encode(),
        }))
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let newest_first = request.order() != ListOrder::OldestFirst;
        let list = if newest_first {
            NEWEST_FIRST
        } else {
            OLDEST_FIRST
        };
        let size = page::size(request.page_size)?;
        let from = match page::Token::decode(&request.page_token, list)? {
            Some(place) => From::Place(place),
            None if request.anchor_message_id.is_empty() => From::End,
            None => From::Anchor(request.anchor_message_id),
        };
        let selector = match request.conversation {
            Some(Wanted::ConversationId(id)) => Selector::Id(id),
            Some(Wanted::AccountId(id)) => Selector::Peer(account_id(&id)?.to_string()),
            None => {
                return Err(invalid(
                    "SELECTOR_MISSING",
                    "name the conversation by conversation_id or account_id",
                ));
            }
        };
        let context = account.context();
        let now_ms = context.now_ms();
        let read = async {
            let mut connection = context.db.readers().acquire().await?;
            let mut snapshot = connection.begin().await?;
            let seq = events::head(&mut snapshot).await?;
            let Some(conversation) = conversations::get(&mut snapshot, &selector).await? else {
                return Ok(Err(conversation::not_found()));
            };
            let place = match from {
                From::End => None,
                From::Place(place) => Some(place),
                From::Anchor(id) => match messages::get(&mut snapshot, &id, now_ms).await? {
                    Some(row) if row.conversation == conversation.public_id => {
                        Some((row.order_ms, row.receive_seq))
                    }
                    _ => return Ok(Err(not_found())),
                },
            };
            let mut rows = messages::page(
                &mut snapshot,
                conversation.id,
                newest_first,
                place,
                size + 1,
                now_ms,
            )
            .await?;
            let more = i64::try_from(rows.len()).is_ok_and(|count| count > size);
            rows.truncate(usize::try_from(size).unwrap_or(0));
            Ok::<_, StoreError>(Ok(Page { rows, more, seq }))
        };
        let Page { rows, more, seq } = read.await.map_err(from_store)??;
        let next = rows.last().filter(|_| more).map(|row| page::Token {
            list,
            place: (row.order_ms, row.receive_seq),
        });
        Ok(Response::new(v1::ListMessagesResponse {
            messages: rows.iter().map(convert::message).collect(),
            next_page_token: next.map(page::Token::encode).unwrap_or_default(),
            cursor: account.cursor(seq).encode(),
        }))
    }

    async fn get_message(
        &self,
        request: Request<v1::GetMessageRequest>,
    ) -> Result<Response<v1::GetMessageResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let context = account.context();
        let read = async {
            let mut connection = context.db.readers().acquire().await?;
            let mut snapshot = connection.begin().await?;
            let seq = events::head(&mut snapshot).await?;
            let row = messages::get(&mut snapshot, &request.message_id, context.now_ms()).await?;
            Ok::<_, StoreError>((row, seq))
        };
        let (row, seq) = read.await.map_err(from_store)?;
        let row = row.ok_or_else(not_found)?;
        Ok(Response::new(v1::GetMessageResponse {
            message: Some(convert::message(&row)),
            cursor: account.cursor(seq).encode(),
        }))
    }

    async fn search_messages(
        &self,
        request: Request<v1::SearchMessagesRequest>,
    ) -> Result<Response<v1::SearchMessagesResponse>, Status> {
        let answer = search::search(self, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn explain_message(
        &self,
        request: Request<v1::ExplainMessageRequest>,
    ) -> Result<Response<v1::ExplainMessageResponse>, Status> {
        let answer = search::explain(self, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn delete_message(
        &self,
        request: Request<v1::DeleteMessageRequest>,
    ) -> Result<Response<v1::DeleteMessageResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let scope = match request.scope() {
            DeleteScope::Here => Scope::Here,
            DeleteScope::OwnDevices => Scope::OwnDevices,
            DeleteScope::Everyone => Scope::Everyone,
            DeleteScope::Unspecified => {
                return Err(invalid("SCOPE_MISSING", "say where it is to be deleted"));
            }
        };
        detached(async move {
            let seq = account
                .remove(move |connection, actor| {
                    Box::pin(async move {
                        delete::delete(connection, actor, &request.message_id, scope).await
                    })
                })
                .await
                .map_err(from_action)?;
            Ok(Response::new(v1::DeleteMessageResponse {
                cursor: account.cursor(seq).encode(),
            }))
        })
        .await
    }

    async fn set_reaction(
        &self,
        request: Request<v1::SetReactionRequest>,
    ) -> Result<Response<v1::SetReactionResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        if !content::reaction::is_emoji(&request.emoji) {
            return Err(invalid("EMOJI_INVALID", "a reaction is one emoji"));
        }
        account
            .reactions()
            .take(account.context().now_ms())
            .map_err(|wait_ms| {
                let text = format!(
                    "20 reactions a minute are the most; try again in {} s",
                    wait_ms / 1_000 + 1
                );
                status(Code::ResourceExhausted, "TOO_MANY_REACTIONS", text)
            })?;
        let (message, seq) = account
            .act(move |connection, actor| {
                Box::pin(async move {
                    let (id, emoji) = (&request.message_id, &request.emoji);
                    react::react(connection, actor, id, emoji, request.remove).await
                })
            })
            .await
            .map_err(from_action)?;
        Ok(Response::new(v1::SetReactionResponse {
            message: Some(convert::message(&message)),
            cursor: account.cursor(seq).encode(),
        }))
    }

    async fn retry_message(
        &self,
        request: Request<v1::RetryMessageRequest>,
    ) -> Result<Response<v1::RetryMessageResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let (message, seq) = account
            .act(move |connection, actor| {
                let id = request.message_id;
                Box::pin(async move { outgoing::retry(connection, actor, &id).await })
            })
            .await
            .map_err(from_action)?;
        Ok(Response::new(v1::RetryMessageResponse {
            message: Some(convert::message(&message)),
            cursor: account.cursor(seq).encode(),
        }))
    }

    async fn report_media_saved(
        &self,
        request: Request<v1::ReportMediaSavedRequest>,
    ) -> Result<Response<v1::ReportMediaSavedResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let token = optional_token(request.client_token)?;
        let id = request.message_id;
        let told = account
            .act(move |connection, actor| {
                Box::pin(async move { extraction::saved(connection, actor, &id, &token).await })
            })
            .await
            .map_err(from_action)?;
        Ok(Response::new(v1::ReportMediaSavedResponse { told }))
    }

    async fn cancel_message(
        &self,
        request: Request<v1::CancelMessageRequest>,
    ) -> Result<Response<v1::CancelMessageResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        let (message, seq) = account
            .act(move |connection, actor| {
                let id = request.message_id;
                Box::pin(async move { outgoing::cancel(connection, actor, &id).await })
            })
            .await
            .map_err(from_action)?;
        Ok(Response::new(v1::CancelMessageResponse {
            message: Some(convert::message(&message)),
            cursor: account.cursor(seq).encode(),
        }))
    }
}

/// NOT_FOUND for a message.
pub(super) fn not_found() -> Status {
    status(
        Code::NotFound,
        "MESSAGE_NOT_FOUND",
        "there is no such message",
    )
}
