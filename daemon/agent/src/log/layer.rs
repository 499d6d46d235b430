//! Takes events off `tracing` and hands them to the writer.

use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::CAPPED;
use super::record::Record;
use super::writer::Writer;

/// The layer. What it is not asked about by its filter does not reach it; spans say nothing here.
pub struct Lines {
    writer: Writer,
}

impl Lines {
    pub fn new(writer: Writer) -> Self {
        Self { writer }
    }
}

/// Whether it is a crate that would write down what it carries, at a level at which it does.
fn is_capped(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let mut capped = CAPPED.iter();
    capped.any(|(name, most)| {
        let is_it = target.strip_prefix(name);
        is_it.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '_']))
            && metadata.level() > most
    })
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !is_capped(event.metadata()) {
            self.writer.take(Record::of(event));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    use std::sync::{Arc, Mutex};

    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use session_network::{NetworkError, Private};
    use session_protocol::AccountId;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::store::StoreError;
    use crate::sync::poller::PollError;

    /// Keeps what would be written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(Record::of(event).text());
        }
    }

    fn said(say: impl FnOnce()) -> String {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry().with(kept.clone());
        tracing::subscriber::with_default(subscriber, say);
        let lines = kept.0.lock().unwrap();
        assert!(!lines.is_empty());
        lines.join("\n")
    }

    proptest! {
        /// However a key, an account ID, an address or a text gets into a line at info or above, it is not in what is
        /// written; at debug it is.
        #[test]
        fn nothing_private_is_written_at_info(
            key: [u8; 32],
            v4: u32,
            v6: u128,
            port: u16,
            text in "[a-z]{9,30} [a-z]{9,30}",
            level in 0..3,
        ) {
            let hex = hex::encode(key);
            let id: AccountId = format!("05{hex}").parse().unwrap();
            let (v4, v6) = (Ipv4Addr::from(v4), Ipv6Addr::from(v6));
            let addresses = [SocketAddr::from((v4, port)), SocketAddr::from((v6, port))];
            let nodes_words = || NetworkError::Rejected { code: 400, text: text.clone() };
            let by_io = StoreError::Io(std::io::Error::other(format!("no {id} at {v4}")));
            let encoded = [
                hex.clone(),
                hex.to_uppercase(),
                STANDARD.encode(key),
                URL_SAFE_NO_PAD.encode(key),
                format!("{key:?}"),
            ];
            let everything = || {
                let shown = Private(&text);
                let poll = PollError::Network(nodes_words());
                match level {
                    0 => tracing::error!(%id, ?key, %poll, %shown, "{by_io}"),
                    1 => tracing::warn!(?id, error = %nodes_words(), ?shown, %by_io, "{id:?} {poll}"),
                    _ => tracing::info!("{id} {v4} {v6} {addresses:?} {shown} {by_io} {}", nodes_words()),
                }
                for one in &encoded {
                    tracing::warn!(one, "see {one}, or https://[{v6}]:{port}/{one} and {v4}:{port}");
                }
            };
            let written = said(everything);
            for one in &encoded {
                prop_assert!(!written.contains(one), "{one}: {written}");
            }
            prop_assert!(!written.contains(&hex[..24]), "{written}");
            prop_assert!(!written.contains(&text), "{written}");
            prop_assert!(!written.contains(&v4.to_string()), "{v4}: {written}");
            // The shortest are words of other things: "::" says nothing.
            let v6 = v6.to_string();
            prop_assert!(v6.len() < 6 || !written.contains(&v6), "{v6}: {written}");

            let shown = Private(&text);
            let details = said(|| tracing::debug!(%id, ?key, %shown, "{v4}"));
            for one in [id.to_string(), format!("{key:?}"), text.clone(), v4.to_string()] {
                prop_assert!(details.contains(&one), "{one}: {details}");
            }
        }
    }

    #[test]
    fn what_writes_down_what_it_carries_is_not_heard_in_detail() {
        let kept = Kept::default();
        let writer = Writer::start(super::super::sink::Sink::standard()).unwrap();
        let subscriber = tracing_subscriber::registry()
            .with(Lines::new(writer.clone()))
            .with(kept.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "zbus::connection", "a body");
            tracing::debug!(target: "zbus_names", "a body");
            tracing::debug!(target: "sqlx::query", "a statement");
        });
        writer.flush();
        let written = writer
            .counts()
            .written
            .load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!((kept.0.lock().unwrap().len(), written), (3, 0));
    }
}
