//! ConversationService.

use sessiond_proto::v1;
use sessiond_proto::v1::conversation_service_server::ConversationService;
use sessiond_proto::v1::get_conversation_request::Selector as Wanted;
use sqlx::Connection as _;
use tonic::{Code, Request, Response, Status};

use super::error::{from_store, invalid, status};
use super::{Api, message, page};
use crate::convert;
use crate::store::conversations::{self, Selector};
use crate::store::{StoreError, events};

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
        let selector = match request.selector {
            Some(Wanted::ConversationId(id)) => Selector::Id(id),
            Some(Wanted::AccountId(id)) => Selector::Peer(message::account_id(&id)?.to_string()),
            None => {
                return Err(invalid(
                    "SELECTOR_MISSING",
                    "name the conversation by conversation_id or account_id",
                ));
            }
        };
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
}

/// NOT_FOUND for a conversation.
pub(super) fn not_found() -> Status {
    status(
        Code::NotFound,
        "CONVERSATION_NOT_FOUND",
        "there is no such conversation",
    )
}
