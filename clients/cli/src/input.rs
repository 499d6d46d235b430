//! Reading texts and recovery phrases from stdin, with limits.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd as _,
    thread,
};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};
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
    let text = secret(terminal, "Recovery phrase", "recovery phrase").await?;
    let phrase = text.trim();
    if phrase.is_empty() {
        return Err(Failure::Usage("no recovery phrase on stdin".into()));
    }
    Ok(Zeroizing::new(phrase.to_owned()))
}

/// A passphrase, as [`phrase`]; one line break at its end does not count.
pub async fn passphrase(
    terminal: &mut Terminal,
    prompt: &str,
) -> Result<Zeroizing<String>, Failure> {
    let mut text = secret(terminal, prompt, "passphrase").await?;
    for end in ['\n', '\r'] {
        if text.ends_with(end) {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(Failure::Usage("no passphrase on stdin".into()));
    }
    Ok(text)
}

async fn secret(
    terminal: &mut Terminal,
    prompt: &str,
    what: &str,
) -> Result<Zeroizing<String>, Failure> {
    let bytes = if terminal.in_is_terminal {
        // Before the prompt: whoever sees it may type at once. And before the echo goes, Ctrl-C must
        // have become something that gives it back.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let unseen = Unseen::start()?;
        write!(terminal.err, "{prompt} (not shown): ")?;
        terminal.err.flush()?;
        let line = line(&mut interrupt).await;
        drop(unseen);
        terminal.err.write_all(b"\n")?;
        line?
    } else {
        bounded(&mut terminal.input, MAX_PHRASE_BYTES, what)?
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Failure::Usage(format!("the {what} is not UTF-8"))),
    }
}

/// Whether a person says yes; nobody else is asked.
pub async fn confirmed(terminal: &mut Terminal, question: &str) -> Result<bool, Failure> {
    if !terminal.in_is_terminal {
        return Ok(false);
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    write!(terminal.err, "{question} [y/N] ")?;
    terminal.err.flush()?;
    let answer = line(&mut interrupt).await?;
    Ok(matches!(answer.trim_ascii(), b"y" | b"Y" | b"yes"))
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

/// A line from the terminal.
async fn line(interrupt: &mut Signal) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let (sender, line) = oneshot::channel();
    // Its own thread: a read from a terminal cannot be cancelled, and nobody waits for it.
    thread::spawn(move || {
        let _ = sender.send(read_line(&mut unbuffered_stdin()));
    });
    tokio::select! {
        line = line => match line {
            Ok(line) => Ok(line?),
            Err(_) => Err(Failure::Io(io::ErrorKind::UnexpectedEof.into())),
        },
        _ = interrupt.recv() => Err(Failure::Interrupted),
    }
}

/// Everything up to the first line break; an overlong line is cut, which no phrase survives.
fn read_line(input: &mut dyn Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; MAX_PHRASE_BYTES as usize]);
    let mut length = 0;
    while length < bytes.len() && !bytes[..length].contains(&b'\n') {
        match input.read(&mut bytes[length..])? {
            0 => break,
            read => length += read,
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Stdin past the standard library's buffer, which nobody would wipe.
pub fn unbuffered_stdin() -> Box<dyn Read + Send> {
    match io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => Box::new(File::from(fd)),
        Err(_) => Box::new(io::stdin()),
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
    fn a_line_ends_at_its_break_or_at_the_end() {
        assert_eq!(
            **read_line(&mut &b"alpha bravo\n"[..]).unwrap(),
            *b"alpha bravo\n"
        );
        assert_eq!(**read_line(&mut &b"alpha"[..]).unwrap(), *b"alpha");
        assert_eq!(read_line(&mut &vec![b'a'; 10_000][..]).unwrap().len(), 4096);
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
