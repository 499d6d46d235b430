//! Connections on the socket: only of the owner, not more than a bound at a time, and only of those that begin to speak.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, stream};
use rustix::process::geteuid;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::{Connected, UdsConnectInfo};

/// Connections at a time. Further ones wait in the kernel's queue, which is bounded, too.
const MAX_CONNECTIONS: usize = 256;
/// Pause after an accept failed, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes with which each HTTP/2 connection begins.
const PREFACE: usize = 24;
/// Within which they must have come. Afterwards the keep-alive pings find out who has gone.
const PREFACE_WITHIN: Duration = Duration::from_secs(10);

/// A connection that counts against the bound until it is dropped.
pub struct Peer {
    stream: UnixStream,
    /// Bytes of the preface still to come, and when they are too late; `None` once all are there.
    beginning: Option<(usize, Pin<Box<Sleep>>)>,
    _place: OwnedSemaphorePermit,
}

impl Peer {
    fn new(stream: UnixStream, place: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            beginning: Some((PREFACE, Box::pin(sleep(PREFACE_WITHIN)))),
            _place: place,
        }
    }
}

/// Connections of the owner. A stranger's is closed before it is read.
pub fn peers(listener: UnixListener) -> impl Stream<Item = io::Result<Peer>> {
    peers_within(listener, MAX_CONNECTIONS)
}

fn peers_within(listener: UnixListener, places: usize) -> impl Stream<Item = io::Result<Peer>> {
    let places = Arc::new(Semaphore::new(places));
    let own = geteuid().as_raw();
    stream::unfold((listener, places), move |(listener, places)| async move {
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == own => {
                        return Some((Ok(Peer::new(stream, place)), (listener, places)));
                    }
                    _ => tracing::warn!("a connection of another user was closed"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

impl Connected for Peer {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let peer = &mut *self;
        let Some((missing, late)) = &mut peer.beginning else {
            return Pin::new(&mut peer.stream).poll_read(cx, buffer);
        };
        if late.as_mut().poll(cx).is_ready() {
            tracing::debug!("a connection that did not begin to speak was closed");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut peer.stream).poll_read(cx, buffer);
        *missing = missing.saturating_sub(buffer.filled().len() - before);
        if *missing == 0 {
            peer.beginning = None;
        }
        read
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, timeout};
    use tonic::transport::Server;

    use super::*;

    const PRI: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

    #[tokio::test(start_paused = true)]
    async fn who_does_not_begin_to_speak_loses_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let (_health, service) = tonic_health::server::health_reporter();
        let server = Server::builder()
            .add_service(service)
            .serve_with_incoming(peers_within(listener, 3));
        let server = tokio::spawn(server);

        let mut speaking = UnixStream::connect(&socket).await.unwrap();
        speaking.write_all(PRI).await.unwrap();
        speaking.write_all(SETTINGS).await.unwrap();
        let silent = UnixStream::connect(&socket).await.unwrap();
        let mut halting = UnixStream::connect(&socket).await.unwrap();
        halting.write_all(&PRI[..23]).await.unwrap();

        // All places are taken: the next one is served when those two are closed.
        let before = Instant::now();
        let mut next = UnixStream::connect(&socket).await.unwrap();
        next.write_all(PRI).await.unwrap();
        next.write_all(SETTINGS).await.unwrap();
        timeout(2 * PREFACE_WITHIN, next.read_exact(&mut [0; 9]))
            .await
            .expect("the places stay taken")
            .unwrap();
        assert!(before.elapsed() >= PREFACE_WITHIN);
        for mut closed in [silent, halting] {
            let end = timeout(PREFACE_WITHIN, closed.read_to_end(&mut Vec::new())).await;
            end.expect("left open").ok();
        }
        // Whoever has begun to speak may be silent afterwards.
        let open = timeout(100 * PREFACE_WITHIN, speaking.read_to_end(&mut Vec::new())).await;
        assert!(open.is_err(), "closed although it had begun");
        server.abort();
    }
}
