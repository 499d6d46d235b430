//! Sending and reading messages through an agent.

use sessiond_client::{Error, new_client_token, v1};
use v1::list_messages_request::Conversation as Selector;
use v1::message::Content;

use super::{Agent, LONG, until};

/// What a message says.
pub fn body(message: &v1::Message) -> &str {
    match &message.content {
        Some(Content::Text(text)) => &text.body,
        other => panic!("no text: {other:?}"),
    }
}

/// What messages say, in their order.
pub fn bodies(messages: &[v1::Message]) -> Vec<&str> {
    messages.iter().map(body).collect()
}

/// Whether it is more than the note that the other side accepted the first message.
pub fn is_said(message: &v1::Message) -> bool {
    !matches!(message.content, Some(Content::RequestAccepted(_)))
}

/// When a message was written, in ms.
pub fn sent_ms(message: &v1::Message) -> i64 {
    let time = message.send_time.unwrap();
    time.seconds * 1_000 + i64::from(time.nanos / 1_000_000)
}

/// A text to `recipient`.
pub fn send_request(recipient: &str, body: &str, token: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        account: String::new(),
        recipient: recipient.to_owned(),
        text: Some(v1::TextContent {
            body: body.to_owned(),
            ..Default::default()
        }),
        client_token: token.to_owned(),
        ..Default::default()
    }
}

impl Agent {
    /// Sends a text; gives the accepted message.
    pub async fn send(&self, recipient: &str, body: &str) -> v1::Message {
        let request = send_request(recipient, body, &new_client_token().unwrap());
        let accepted = self.client().send_message(request).await.unwrap();
        accepted.message.unwrap()
    }

    /// Sends a text and waits until it is stored.
    pub async fn send_stored(&self, recipient: &str, body: &str) -> v1::Message {
        let request = send_request(recipient, body, &new_client_token().unwrap());
        let message = self.client().send_and_wait(request, LONG).await.unwrap();
        assert_eq!(message.send_state(), v1::SendState::Sent, "{message:?}");
        message
    }

    /// Sends a text that disappears so many seconds after, and waits until it is stored.
    pub async fn send_disappearing(
        &self,
        recipient: &str,
        body: &str,
        mode: v1::DisappearingMode,
        seconds: i64,
    ) {
        let mut request = send_request(recipient, body, &new_client_token().unwrap());
        request.disappearing = Some(v1::DisappearingSetting {
            mode: mode.into(),
            timer: Some(prost_types::Duration { seconds, nanos: 0 }),
        });
        let message = self.client().send_and_wait(request, LONG).await.unwrap();
        assert_eq!(message.send_state(), v1::SendState::Sent, "{message:?}");
    }

    /// A message as it stands.
    pub async fn message(&self, id: &str) -> v1::Message {
        let request = v1::GetMessageRequest {
            account: String::new(),
            message_id: id.to_owned(),
        };
        let answer = self.client().get_message(request).await.unwrap();
        answer.message.unwrap()
    }

    /// The way of a message.
    pub async fn explain(&self, id: &str) -> Vec<v1::MessageStep> {
        let request = v1::ExplainMessageRequest {
            message_id: id.to_owned(),
            ..Default::default()
        };
        self.client().explain_message(request).await.unwrap().steps
    }

    /// Waits until a message of this agent and its copy are stored.
    pub async fn until_synced(&self, id: &str) -> v1::Message {
        until("message and copy are stored", async || {
            let message = self.message(id).await;
            (message.send_state() == v1::SendState::Sent
                && matches!(
                    message.sync_state(),
                    v1::SendState::Sent | v1::SendState::None
                ))
            .then_some(message)
        })
        .await
    }

    /// The conversation with an account; `None`: there is none yet.
    pub async fn conversation(&self, with: &str) -> Option<v1::Conversation> {
        let request = v1::GetConversationRequest {
            selector: Some(v1::get_conversation_request::Selector::AccountId(
                with.to_owned(),
            )),
            ..Default::default()
        };
        let answer = self.client().get_conversation(request).await.ok()?;
        answer.conversation
    }

    /// Reads all that somebody wrote; gives the conversation as it is then.
    pub async fn read(&self, with: &str) -> v1::Conversation {
        let request = v1::MarkConversationReadRequest {
            selector: Some(v1::mark_conversation_read_request::Selector::AccountId(
                with.to_owned(),
            )),
            ..Default::default()
        };
        let answer = self.client().mark_conversation_read(request).await;
        answer.unwrap().conversation.unwrap()
    }

    /// All that was said with an account, the oldest first; without the note that somebody accepted a request.
    pub async fn messages(&self, with: &str) -> Vec<v1::Message> {
        let mut all = self.all_messages(with).await;
        all.retain(is_said);
        all
    }

    /// All entries with an account, the oldest first; none when there is no conversation.
    pub async fn all_messages(&self, with: &str) -> Vec<v1::Message> {
        let mut request = v1::ListMessagesRequest {
            conversation: Some(Selector::AccountId(with.to_owned())),
            page_size: 200,
            order: v1::ListOrder::OldestFirst.into(),
            ..Default::default()
        };
        let mut all = Vec::new();
        loop {
            let page = match self.client().list_messages(request.clone()).await {
                Err(Error::Rpc(error))
                    if error.reason.as_deref() == Some("CONVERSATION_NOT_FOUND") =>
                {
                    return all;
                }
                page => page.unwrap(),
            };
            all.extend(page.messages);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Waits until as many messages with an account are there; gives them, the oldest first.
    pub async fn until_messages(&self, with: &str, count: usize) -> Vec<v1::Message> {
        until("all messages are there", async || {
            let messages = self.messages(with).await;
            (messages.len() >= count).then_some(messages)
        })
        .await
    }

    /// Polls until the network answers; gives how many messages were new.
    pub async fn sync(&self) -> u32 {
        until("a poll succeeds", async || {
            match self.client().sync(v1::SyncRequest::default()).await {
                Ok(answer) => Some(answer.new_message_count),
                Err(error) => {
                    assert!(
                        matches!(
                            error.code(),
                            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded
                        ),
                        "{error}"
                    );
                    None
                }
            }
        })
        .await
    }
}
