//! EventService.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use sessiond_proto::v1::event_service_server::EventService;
use sessiond_proto::v1::{self, StreamStart};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Api;
use super::error::{from_store, from_stream, invalid};
use crate::events::{Cursor, Start, StreamEnd};
use crate::store::events;

/// Most characters of a subscriber's name.
const MAX_NAME: usize = 64;

fn check_name(name: &str) -> Result<(), Status> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.len() <= MAX_NAME && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(invalid(
            "SUBSCRIBER_INVALID",
            format!(
                "a subscriber's name has at most {MAX_NAME} characters of a-z, A-Z, 0-9, '.', '_', '-'"
            ),
        ))
    }
}

fn cursor(text: &str) -> Result<Cursor, Status> {
    Cursor::decode(text)
        .ok_or_else(|| invalid("CURSOR_INVALID", "this is not a cursor that the agent gave"))
}

#[tonic::async_trait]
impl EventService for Api {
    type SubscribeStream =
        Pin<Box<dyn Stream<Item = Result<v1::SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        check_name(&request.subscriber)?;
        let start = if request.after_cursor.is_empty() {
            match request.start() {
                StreamStart::Unspecified => Start::Acknowledged,
                StreamStart::Oldest => Start::Oldest,
                StreamStart::Newest => Start::Newest,
            }
        } else {
            Start::After(cursor(&request.after_cursor)?)
        };
        let subscription = account
            .hub()
            .subscribe(request.subscriber, start, request.replay_only)
            .await
            .map_err(from_stream)?;
        let stream = ReceiverStream::new(subscription).map(|item| item.map_err(from_stream));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn acknowledge(
        &self,
        request: Request<v1::AcknowledgeRequest>,
    ) -> Result<Response<v1::AcknowledgeResponse>, Status> {
        let request = request.into_inner();
        let account = self.account(&request.account).await?;
        if request.subscriber.is_empty() {
            return Err(invalid("SUBSCRIBER_INVALID", "name the subscriber"));
        }
        check_name(&request.subscriber)?;
        let cursor = cursor(&request.cursor)?;
        let context = account.context();
        let now_ms = context.now_ms();
        let log_id = account.meta().log_id;
        let known = context
            .db
            .writer()
            .call(move |connection| {
                Box::pin(async move {
                    if cursor.log_id != log_id
                        || cursor.seq > events::head(&mut *connection).await?
                    {
                        return Ok(false);
                    }
                    events::acknowledge(connection, &request.subscriber, cursor.seq, now_ms)
                        .await?;
                    Ok(true)
                })
            })
            .await
            .map_err(from_store)?;
        if known {
            Ok(Response::new(v1::AcknowledgeResponse {}))
        } else {
            Err(from_stream(StreamEnd::LogReplaced))
        }
    }
}
