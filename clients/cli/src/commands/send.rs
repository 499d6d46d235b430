//! `send`

use sessiond_client::{
    Error, new_client_token,
    v1::{Message, SendMessageRequest, SendMessageResponse, SendState, TextContent},
};

use crate::{
    args::{SendArgs, WaitFor},
    context::Context,
    failure::Failure,
    format::safe,
    input,
};

/// Without `--wait` prints the message's ID (or the message as JSON) once it is accepted. With it
/// the ID comes at once, too, but the JSON only at the end, with the state reached; also when that
/// is FAILED or still SENDING.
pub async fn send(context: &mut Context, args: SendArgs) -> Result<(), Failure> {
    let client = context.connect().await?;
    let body = if args.text == "-" {
        input::text(&mut context.terminal.input)?
    } else {
        args.text
    };
    let client_token = match args.token {
        Some(token) => token,
        None => new_client_token()?,
    };
    let request = SendMessageRequest {
        recipient: args.recipient.to_string(),
        text: Some(TextContent { body }),
        client_token,
        ..SendMessageRequest::default()
    };
    let accepted = client.send_message(request).await?;
    let message = accepted
        .message
        .clone()
        .ok_or(Failure::Incomplete("the message"))?;
    if !context.json {
        context.print(&format!("{}\n", safe::line(&message.id)))?;
        context.flush()?;
    }
    match args.wait {
        None if context.json => context.object("Message", &message),
        None => Ok(()),
        Some(WaitFor::Stored) => {
            context.progress("Accepted; waiting until the recipient's swarm has it …");
            let outcome = settle(&client, accepted, args.timeout).await;
            if context.json {
                context.object("Message", outcome.as_ref().unwrap_or(&message))?;
            }
            let settled = outcome?;
            if settled.send_state() == SendState::Failed {
                return Err(Failure::NotSent {
                    reason: settled.failure_reason,
                });
            }
            context.progress("✓ stored");
            Ok(())
        }
    }
}

async fn settle(
    client: &sessiond_client::Client,
    accepted: SendMessageResponse,
    timeout: std::time::Duration,
) -> Result<Message, Error> {
    client.wait_until_settled("", accepted, timeout).await
}
