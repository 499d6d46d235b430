//! Sending a message and waiting for what becomes of it.

use std::time::Duration;

use sessiond_proto::v1::{
    Event, EventKind, Message, SendMessageRequest, SendMessageResponse, SendState,
    SubscribeRequest, event,
};
use tokio::time::timeout;

use crate::{Client, Error, Update, new_client_token};

impl Client {
    /// Sends a message and waits until it is stored or given up: the message comes back in state
    /// SENT or FAILED. Without a client token in the request a random one is taken.
    ///
    /// ```no_run
    /// # async fn example(client: sessiond_client::Client) -> Result<(), sessiond_client::Error> {
    /// use std::time::Duration;
    /// use sessiond_client::v1;
    /// let request = v1::SendMessageRequest {
    ///     recipient: "05…".into(),
    ///     text: Some(v1::TextContent { body: "Hello".into(), ..Default::default() }),
    ///     client_token: "job-42".into(), // repeated with it, it is sent once
    ///     ..Default::default()
    /// };
    /// let message = client.send_and_wait(request, Duration::from_secs(60)).await?;
    /// assert_eq!(message.send_state(), v1::SendState::Sent);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As `SendMessage`; [`Error::StillSending`] when `deadline` passes after the message was
    /// accepted, from when on the agent goes on trying by itself.
    pub async fn send_and_wait(
        &self,
        mut request: SendMessageRequest,
        deadline: Duration,
    ) -> Result<Message, Error> {
        if request.client_token.is_empty() {
            request.client_token = new_client_token()?;
        }
        let account = request.account.clone();
        let accepted = self.send_message(request).await?;
        self.wait_until_settled(&account, accepted, deadline).await
    }

    /// Waits until an accepted message is stored or given up: it comes back in state SENT or
    /// FAILED. Survives a restart of the agent.
    ///
    /// # Errors
    ///
    /// [`Error::StillSending`] when `deadline` passes first, [`Error::MessageRemoved`], and those
    /// of an [`EventStream`](crate::EventStream).
    pub async fn wait_until_settled(
        &self,
        account: &str,
        accepted: SendMessageResponse,
        deadline: Duration,
    ) -> Result<Message, Error> {
        let Some(message) = accepted.message else {
            return Err(Error::Protocol {
                detail: "an accepted message is missing",
            });
        };
        if is_settled(&message) {
            return Ok(message);
        }
        let request = SubscribeRequest {
            account: account.to_owned(),
            after_cursor: accepted.cursor,
            ..SubscribeRequest::default()
        };
        match timeout(deadline, self.follow(request, &message.id)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::StillSending {
                message_id: message.id,
                after: deadline,
            }),
        }
    }

    async fn follow(&self, request: SubscribeRequest, id: &str) -> Result<Message, Error> {
        if request.after_cursor.is_empty() {
            return Err(Error::Protocol {
                detail: "an accepted message has no cursor",
            });
        }
        let mut events = self.events(request);
        while let Some(update) = events.next().await {
            if let Update::Event(event) = update?
                && event.message_id == id
                && let Some(outcome) = outcome(*event)
            {
                return outcome;
            }
        }
        Err(Error::Protocol {
            detail: "an event stream ended without a reason",
        })
    }
}

fn outcome(event: Event) -> Option<Result<Message, Error>> {
    match (event.kind(), event.state) {
        (EventKind::MessageRemoved, _) => Some(Err(Error::MessageRemoved {
            message_id: event.message_id,
        })),
        (_, Some(event::State::Message(message))) if is_settled(&message) => Some(Ok(message)),
        _ => None,
    }
}

fn is_settled(message: &Message) -> bool {
    matches!(message.send_state(), SendState::Sent | SendState::Failed)
}
