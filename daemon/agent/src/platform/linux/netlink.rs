//! What the kernel tells of links, IPv4 addresses and IPv4 routes (netlink(7), rtnetlink(7)).
//!
//! Only that something changed is read, not what: the answer is the same. Messages about a link that is as usable as
//! before, such as those of every wireless scan, are no change.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV4_ROUTE.
const GROUPS: u32 = 0x1 | 0x10 | 0x40;

/// RTM_NEWLINK.
const NEW_LINK: u16 = 16;
/// RTM_DELLINK.
const DEL_LINK: u16 = 17;
/// RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE and RTM_DELROUTE.
const ADDRESSES_AND_ROUTES: [u16; 4] = [20, 21, 24, 25];

/// IFF_UP, IFF_RUNNING and IFF_LOWER_UP.
const USABLE: u32 = 0x1 | 0x40 | 0x1_0000;

/// Links remembered; at the limit all are forgotten, which makes a message too many look like a change.
const MAX_LINKS: usize = 4_096;

/// Tells when the network changes.
pub struct NetworkChanges {
    socket: AsyncFd<OwnedFd>,
    links: Links,
}

impl NetworkChanges {
    /// Listens from now on. Within a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        // What replaces it is unsafe and asks for what is so here: the descriptor is owned and never replaced.
        #[allow(deprecated)]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self {
            socket,
            links: Links::default(),
        })
    }

    /// Waits for a change; all that is known by then is one. Nothing is lost if it is dropped.
    pub async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
            let mut changed = false;
            let links = &mut self.links;
            // Until nothing is left to read, which ends the closure with WouldBlock.
            let read = ready.try_io(|socket| -> io::Result<()> {
                let mut buffer = [0; 32 * 1024];
                loop {
                    match recv(socket, &mut buffer[..], RecvFlags::empty()) {
                        Ok((length, _)) => changed |= links.changed(&buffer[..length]),
                        // More came than the kernel keeps.
                        Err(Errno::NOBUFS) => changed = true,
                        Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            });
            match read {
                Err(_) if changed => return Ok(()),
                Err(_) | Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}

/// Which links are usable, as far as messages told.
#[derive(Default)]
struct Links {
    flags: HashMap<i32, u32>,
}

impl Links {
    /// Whether a datagram of messages tells of a change. Whatever is malformed ends it.
    fn changed(&mut self, mut bytes: &[u8]) -> bool {
        let mut changed = false;
        while let Some((head, rest)) = bytes.split_first_chunk::<16>() {
            let [a, b, c, d, e, f, ..] = *head;
            let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).ok();
            let length = length.and_then(|length| length.checked_sub(head.len()));
            let Some(body) = length.and_then(|length| rest.get(..length)) else {
                break;
            };
            changed |= self.message(u16::from_ne_bytes([e, f]), body);
            let next = body.len().next_multiple_of(4);
            bytes = rest.get(next..).unwrap_or_default();
        }
        changed
    }

    fn message(&mut self, kind: u16, body: &[u8]) -> bool {
        if ADDRESSES_AND_ROUTES.contains(&kind) {
            return true;
        }
        // struct ifinfomsg: family 1, padding 1, type 2, index 4, flags 4, change 4.
        let Some([_, _, _, _, a, b, c, d, e, f, g, h, ..]) = body.first_chunk::<16>() else {
            return false;
        };
        let index = i32::from_ne_bytes([*a, *b, *c, *d]);
        let flags = u32::from_ne_bytes([*e, *f, *g, *h]) & USABLE;
        match kind {
            NEW_LINK => {
                if self.flags.len() >= MAX_LINKS {
                    self.flags.clear();
                }
                self.flags.insert(index, flags) != Some(flags)
            }
            DEL_LINK => {
                self.flags.remove(&index);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn link(kind: u16, index: i32, flags: u32) -> Vec<u8> {
        let mut body = vec![0; 4];
        body.extend(index.to_ne_bytes());
        body.extend(flags.to_ne_bytes());
        body.extend([0; 4]);
        // An attribute of odd length, as names have.
        body.extend([9, 0, 3, 0, b'w', b'l', b'a', b'n', 0]);
        message(kind, &body)
    }

    #[test]
    fn only_what_changes_anything_is_a_change() {
        let mut links = Links::default();
        let up = USABLE | 0x1000;
        assert!(links.changed(&link(NEW_LINK, 3, up)));
        // A scan, and another flag.
        assert!(!links.changed(&link(NEW_LINK, 3, up)));
        assert!(!links.changed(&link(NEW_LINK, 3, up | 0x100)));
        // The cable is out.
        assert!(links.changed(&link(NEW_LINK, 3, 0x1)));
        assert!(links.changed(&link(NEW_LINK, 3, up)));
        assert!(links.changed(&link(DEL_LINK, 3, 0)));
        assert!(links.changed(&link(NEW_LINK, 3, up)));
        for kind in ADDRESSES_AND_ROUTES {
            assert!(links.changed(&message(kind, &[0; 8])));
        }
        // Neighbours come and go.
        assert!(!links.changed(&message(28, &[0; 12])));
        // The second message of a datagram.
        let both = [link(NEW_LINK, 3, up), message(24, &[])].concat();
        assert!(links.changed(&both));
        assert!(!links.changed(&both[..both.len() - 1]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(
            parts in prop::collection::vec((0_u16..40, prop::collection::vec(any::<u8>(), 0..40)), 0..6),
            noise in prop::collection::vec(any::<u8>(), 0..60),
            at: prop::sample::Index,
        ) {
            let mut bytes: Vec<u8> = parts.iter().flat_map(|(kind, body)| message(*kind, body)).collect();
            let mut links = Links::default();
            let told = links.changed(&bytes);
            let expected = parts.iter().any(|(kind, _)| ADDRESSES_AND_ROUTES.contains(kind));
            prop_assert!(told || !expected);
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, noise.clone());
            links.changed(&bytes);
            links.changed(&noise);
        }
    }

    #[tokio::test]
    async fn the_kernel_lets_us_listen() {
        let mut changes = NetworkChanges::open().unwrap();
        let soon = std::time::Duration::from_millis(50);
        // Whether anything happens meanwhile is not ours to say; that reading works is.
        if let Ok(next) = tokio::time::timeout(soon, changes.next()).await {
            next.unwrap();
        }
    }
}
