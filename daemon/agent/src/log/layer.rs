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
