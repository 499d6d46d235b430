//! What must have happened for the demo to have worked, and what of it was seen.
//!
//! Only what the agents' event streams report counts: a text that was accepted is not yet one that arrived.

use sessiond_client::v1::{Message, MessageDirection, SendState, message};

use crate::parts::answer_text;

/// Whose agent reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// Writes first.
    Alice,
    /// Has a program that answers.
    Bob,
}

impl Person {
    /// Display name of the account.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alice => "Alice",
            Self::Bob => "Bob",
        }
    }
}

const STEPS: [&str; 5] = [
    "Alice's text is stored in Bob's swarm",
    "the copy for Alice's other devices is stored",
    "Bob's agent has received Alice's text",
    "the answer is stored in Alice's swarm",
    "Alice's agent has received the answer",
];

/// One text and its answer.
pub struct Exchange {
    question: String,
    answer: String,
    done: [bool; STEPS.len()],
    failed: Option<String>,
}

impl Exchange {
    /// Nothing has happened yet. `question` must be one that was never sent before.
    pub fn new(question: String) -> Self {
        Self {
            answer: answer_text(&question),
            question,
            done: [false; STEPS.len()],
            failed: None,
        }
    }

    /// What Alice writes.
    pub fn question(&self) -> &str {
        &self.question
    }

    /// What Bob's program answers.
    pub fn answer(&self) -> &str {
        &self.answer
    }

    /// Takes note of a message as an agent reports it.
    pub fn observe(&mut self, who: Person, message: &Message) {
        let outgoing = message.direction() == MessageDirection::Outgoing;
        let (first, expected) = match (who, outgoing) {
            (Person::Alice, true) => (0, &self.question),
            (Person::Bob, false) => (2, &self.question),
            (Person::Bob, true) => (3, &self.answer),
            (Person::Alice, false) => (4, &self.answer),
        };
        if body(message) != Some(expected) {
            return;
        }
        if outgoing && message.send_state() == SendState::Failed {
            let (name, reason) = (who.name(), &message.failure_reason);
            self.failed = Some(format!("a text of {name} was given up: {reason}"));
        }
        self.done[first] |= !outgoing || message.send_state() == SendState::Sent;
        if (who, outgoing) == (Person::Alice, true) {
            self.done[1] |= message.sync_state() == SendState::Sent;
        }
    }

    /// What was not seen yet.
    pub fn missing(&self) -> Vec<&'static str> {
        let steps = STEPS.iter().zip(self.done);
        steps
            .filter(|(_, done)| !done)
            .map(|(step, _)| *step)
            .collect()
    }

    /// Why it will not be completed any more.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }
}

/// The text of a message, if it is one.
pub fn body(message: &Message) -> Option<&str> {
    match &message.content {
        Some(message::Content::Text(text)) => Some(&text.body),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use sessiond_client::v1::TextContent;

    use super::*;

    fn text(body: &str, direction: MessageDirection, send: SendState, sync: SendState) -> Message {
        Message {
            direction: direction.into(),
            send_state: send.into(),
            sync_state: sync.into(),
            content: Some(message::Content::Text(TextContent {
                body: body.into(),
                ..Default::default()
            })),
            ..Default::default()
        }
    }

    #[test]
    fn complete_only_after_every_step() {
        use MessageDirection::{Incoming, Outgoing};
        use SendState::{None, Sending, Sent};
        let mut exchange = Exchange::new("hi".into());
        let answer = exchange.answer().to_owned();
        let steps = [
            (Person::Alice, text("hi", Outgoing, Sending, Sending), 5),
            (Person::Alice, text("hi", Outgoing, Sent, Sending), 4),
            (Person::Bob, text("other", Incoming, None, None), 4),
            (Person::Bob, text("hi", Incoming, None, None), 3),
            (Person::Bob, text(&answer, Outgoing, Sending, None), 3),
            (Person::Bob, text(&answer, Outgoing, Sent, None), 2),
            (Person::Alice, text("hi", Incoming, None, None), 2),
            (Person::Alice, text(&answer, Incoming, None, None), 1),
            (Person::Alice, text("hi", Outgoing, Sent, Sent), 0),
        ];
        for (who, message, missing) in steps {
            exchange.observe(who, &message);
            assert_eq!(exchange.missing().len(), missing, "{message:?}");
        }
        assert_eq!(exchange.failed(), Option::None);
    }

    #[test]
    fn a_text_that_was_given_up_ends_it() {
        let mut exchange = Exchange::new("hi".into());
        let failed = SendState::Failed;
        let mut message = text("hi", MessageDirection::Outgoing, failed, failed);
        message.failure_reason = "NO_PATH".into();
        exchange.observe(Person::Alice, &message);
        assert_eq!(exchange.missing().len(), STEPS.len());
        assert!(exchange.failed().unwrap().contains("NO_PATH"));
    }
}
