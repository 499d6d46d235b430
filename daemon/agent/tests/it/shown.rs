//! What the API shows, read from the database as the API does.

use sessiond::convert;
use sessiond::store::conversations::{self, Selector};
use sessiond::store::messages;
use sessiond_proto::v1;
use sessiond_proto::v1::message::Content;

use crate::common::{Rig, keys};

impl Rig {
    /// The conversation with an account.
    pub async fn conversation(&self, with: u8) -> Option<v1::Conversation> {
        let mut connection = self.context.db.readers().acquire().await.unwrap();
        let selector = Selector::Peer(keys(with).account_id().to_string());
        let row = conversations::get(&mut connection, &selector)
            .await
            .unwrap()?;
        convert::conversations(&mut connection, vec![row], self.context.now_ms())
            .await
            .unwrap()
            .pop()
    }

    /// All messages with an account, oldest first.
    pub async fn messages(&self, with: u8) -> Vec<v1::Message> {
        let mut connection = self.context.db.readers().acquire().await.unwrap();
        let selector = Selector::Peer(keys(with).account_id().to_string());
        let Some(row) = conversations::get(&mut connection, &selector)
            .await
            .unwrap()
        else {
            return Vec::new();
        };
        let now_ms = self.context.now_ms();
        messages::page(&mut connection, row.id, false, None, 10_000, now_ms)
            .await
            .unwrap()
            .iter()
            .map(convert::message)
            .collect()
    }

    /// All messages with an account, in a word each.
    pub async fn words(&self, with: u8) -> Vec<String> {
        self.messages(with).await.iter().map(word).collect()
    }
}

/// A message in a word.
pub fn word(message: &v1::Message) -> String {
    match message.content.as_ref().unwrap() {
        Content::Text(text) => text.body.clone(),
        Content::Deleted(_) => "(deleted)".into(),
        Content::CommunityInvitation(it) => format!("(invitation {})", it.name),
        Content::Call(call) => format!("(call {})", call.state().as_str_name()),
        Content::DataExtraction(it) => format!("({})", it.kind().as_str_name()),
        Content::RequestAccepted(_) => "(accepted)".into(),
        Content::TimerChange(it) => format!(
            "(timer {})",
            it.setting
                .as_ref()
                .and_then(|setting| setting.timer)
                .map_or(0, |timer| timer.seconds)
        ),
        Content::Gap(_) => "(gap)".into(),
        Content::Unsupported(it) => format!("(unsupported {})", it.kind),
    }
}
