//! Reading texts and recovery phrases from stdin, with limits.

use std::{
    io::{self, BufRead as _, BufReader, Read},
    thread,
};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tokio::{signal, sync::oneshot};
use zeroize::Zeroizing;

use crate::{context::Terminal, failure::Failure};

/// More than any message holds; the agent judges the exact length.
const MAX_TEXT_BYTES: u64 = 64 * 1024;

/// More than 13 words in any language have.
const MAX_PHRASE_BYTES: u64 = 4096;

/// The text of a message: all of the input but one line break at its end.
pub fn text(input: &mut dyn Read) -> Result<String, Failure> {
    let mut bytes = bounded(input, MAX_TEXT_BYTES, "text")?;
    let mut text = String::from_utf8(std::mem::take(&mut *bytes))
        .map_err(|_| Failure::Usage("the text on stdin is not UTF-8".into()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// A recovery phrase: one line typed unseen on a terminal, all of the input otherwise.
pub async fn phrase(terminal: &mut Terminal) -> Result<Zeroizing<String>, Failure> {
    let bytes = if terminal.in_is_terminal {
        terminal.err.write_all(b"Recovery phrase (not shown): ")?;
        terminal.err.flush()?;
        let line = unseen_line().await;
        terminal.err.write_all(b"\n")?;
        line?
    } else {
        bounded(&mut terminal.input, MAX_PHRASE_BYTES, "phrase")?
    };
    let phrase = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::Usage("the recovery phrase is not UTF-8".into()))?
        .trim();
    if phrase.is_empty() {
        return Err(Failure::Usage("no recovery phrase on stdin".into()));
    }
    Ok(Zeroizing::new(phrase.to_owned()))
}

fn bounded(input: &mut dyn Read, limit: u64, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Reserved at once: growing would leave copies behind.
    let room = usize::try_from(limit + 1).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    input.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Failure::Usage(format!(
            "the {what} on stdin is longer than {limit} bytes"
        )));
    }
    Ok(bytes)
}

/// A line from the terminal without echo. Ctrl-C gives the echo back before the program ends.
async fn unseen_line() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let _unseen = Unseen::start()?;
    let (sender, line) = oneshot::channel();
    // Its own thread: a read from a terminal cannot be cancelled, and nobody waits for it.
    thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PHRASE_BYTES as usize));
        let read = BufReader::new(io::stdin().take(MAX_PHRASE_BYTES)).read_until(b'\n', &mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    });
    tokio::select! {
        line = line => match line {
            Ok(line) => Ok(line?),
            Err(_) => Err(Failure::Io(io::ErrorKind::UnexpectedEof.into())),
        },
        _ = signal::ctrl_c() => Err(Failure::Interrupted),
    }
}

/// Echo is off as long as this lives.
struct Unseen(Termios);

impl Unseen {
    fn start() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
        Ok(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // Nothing is left to do when the terminal is gone.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, Failure> {
        text(&mut &bytes[..])
    }

    #[test]
    fn one_line_break_is_dropped() {
        assert_eq!(read(b"hi\n").unwrap(), "hi");
        assert_eq!(read(b"hi\r\n").unwrap(), "hi");
        assert_eq!(read(b"a\nb\n\n").unwrap(), "a\nb\n");
        assert_eq!(read(b"").unwrap(), "");
    }

    #[test]
    fn too_long_and_not_utf8_is_wrong_usage() {
        assert_eq!(
            read(&vec![b'a'; MAX_TEXT_BYTES as usize]).unwrap().len(),
            65_536
        );
        for bytes in [&vec![b'a'; MAX_TEXT_BYTES as usize + 1][..], b"\xff"] {
            assert!(matches!(read(bytes), Err(Failure::Usage(_))));
        }
    }
}
