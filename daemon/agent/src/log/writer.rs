//! The thread that writes lines: whoever says something never waits for a disk, a pipe or a journal.
//!
//! Bounded: up to 2,048 lines wait; what does not fit is lost, counted, and told by the next line that is written. A stop
//! waits up to two seconds for what is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tracing::Level;

use super::collapse::Collapse;
use super::record::Record;
use super::sink::Sink;

/// Lines that wait.
const QUEUE: usize = 2_048;
/// Longest a stop waits.
const FLUSH: Duration = Duration::from_secs(2);
/// Between two looks with nothing to do.
const IDLE: Duration = Duration::from_secs(3600);

/// What became of lines.
#[derive(Debug, Default)]
pub struct Counts {
    /// Written, those that tell of others included.
    pub written: AtomicU64,
    /// Told by another line instead.
    pub collapsed: AtomicU64,
    /// Lost: too many waited, or they could not be written.
    pub dropped: AtomicU64,
}

enum Order {
    Line(Box<Record>),
    Reopen,
    /// Write everything, then say so.
    Flush(SyncSender<()>),
}

/// Takes lines.
#[derive(Clone)]
pub struct Writer {
    queue: SyncSender<Order>,
    counts: Arc<Counts>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(sink: Sink) -> std::io::Result<Self> {
        let (queue, orders) = sync_channel(QUEUE);
        let counts = Arc::<Counts>::default();
        let work = Work {
            sink,
            collapse: Collapse::default(),
            counts: Arc::clone(&counts),
            told: 0,
        };
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || work.run(&orders))?;
        Ok(Self { queue, counts })
    }

    pub fn take(&self, record: Record) {
        if self.queue.try_send(Order::Line(Box::new(record))).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the file anew if it was moved away.
    pub fn reopen(&self) {
        // A queue that is full hangs anyway.
        let _ = self.queue.try_send(Order::Reopen);
    }

    /// Waits until everything said before is written, within limits.
    pub fn flush(&self) {
        let end = Instant::now() + FLUSH;
        let (done, is_done) = sync_channel(1);
        let mut order = Order::Flush(done);
        while let Err(std::sync::mpsc::TrySendError::Full(back)) = self.queue.try_send(order) {
            if Instant::now() > end {
                return;
            }
            order = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = is_done.recv_timeout(end.saturating_duration_since(Instant::now()));
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

struct Work {
    sink: Sink,
    collapse: Collapse,
    counts: Arc<Counts>,
    /// How many lost lines were told of.
    told: u64,
}

impl Work {
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let now = Instant::now();
            let next = self.collapse.next();
            let wait = next.map_or(IDLE, |next| next.saturating_duration_since(now));
            match orders.recv_timeout(wait) {
                Ok(Order::Line(record)) => {
                    let at = record.at;
                    let lines = self.collapse.take(*record);
                    let collapsed = self.collapse.collapsed;
                    self.counts.collapsed.store(collapsed, Ordering::Relaxed);
                    self.write(&lines);
                    self.tell_of_lost(at);
                }
                Ok(Order::Reopen) => {
                    if self.sink.reopen().is_err() {
                        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(Order::Flush(done)) => {
                    let lines = self.collapse.end(Instant::now());
                    self.write(&lines);
                    // Whoever waited may have given up.
                    let _ = done.try_send(());
                }
                Err(RecvTimeoutError::Timeout) => {
                    let lines = self.collapse.due(Instant::now());
                    self.write(&lines);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write(&mut self, lines: &[Record]) {
        for line in lines {
            let count = match self.sink.write(line) {
                Ok(()) => &self.counts.written,
                Err(_) => &self.counts.dropped,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn tell_of_lost(&mut self, now: Instant) {
        let dropped = self.counts.dropped.load(Ordering::Relaxed);
        if dropped == self.told {
            return;
        }
        let lost = dropped - self.told;
        let text = format!("{lost} lines were lost: the log did not take them in time");
        // Told as soon as something can be written again.
        if self
            .sink
            .write(&Record::own(Level::WARN, text, now))
            .is_ok()
        {
            self.told = dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::sink::Capped;

    fn record(text: &str) -> Record {
        Record::own(Level::INFO, text.to_owned(), Instant::now())
    }

    #[test]
    fn what_was_said_is_written_in_order_and_repeats_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let sink = Sink::File(Capped::open(&path, 1 << 20).unwrap());
        let writer = Writer::start(sink).unwrap();
        for text in ["one", "two", "two", "two"] {
            writer.take(record(text));
        }
        writer.flush();
        let log = std::fs::read_to_string(&path).unwrap();
        let texts: Vec<_> = log
            .lines()
            .map(|line| line.split(": ").nth(1).unwrap())
            .collect();
        assert_eq!(texts, ["one", "two", "two … repeated 2 times in 0 s"]);
        assert_eq!(writer.counts().collapsed.load(Ordering::Relaxed), 2);
        assert_eq!(writer.counts().written.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_flood_is_bounded_and_told() {
        // Nobody takes anything off this queue until it is full.
        let (queue, orders) = sync_channel(QUEUE);
        let counts = Arc::<Counts>::default();
        let writer = Writer {
            queue,
            counts: Arc::clone(&counts),
        };
        for n in 0..QUEUE + 7 {
            writer.take(record(&n.to_string()));
        }
        assert_eq!(counts.dropped.load(Ordering::Relaxed), 7);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let work = Work {
            sink: Sink::File(Capped::open(&path, 1 << 20).unwrap()),
            collapse: Collapse::default(),
            counts,
            told: 0,
        };
        drop(writer);
        work.run(&orders);
        let log = std::fs::read_to_string(&path).unwrap();
        assert_eq!(log.matches("7 lines were lost").count(), 1);
        assert_eq!(log.lines().count(), QUEUE + 1);
    }
}
