//! The SOCKS5 proxy that everything goes through, if one is set.
//!
//! Promises: host names are resolved by the proxy, so that no name service of this machine is asked; user and
//! password appear in no `Debug`, log or error. Only the proxy's own name, where it is given by one, is resolved
//! here.
//!
//! Facts: RFC 1928 and 1929; users.md 2.3 (19).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use zeroize::Zeroizing;

/// The port that SOCKS is registered under.
const DEFAULT_PORT: u16 = 1080;

/// Longest name in the domain name system.
const MAX_HOST: usize = 253;

/// Longest user and password (RFC 1929).
const MAX_CREDENTIAL: usize = 255;

/// Where the proxy is and how it lets us in.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

/// User and password (RFC 1929).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Zeroizing<String>,
    pub(crate) password: Zeroizing<String>,
}

/// Why a proxy cannot be used. Says nothing of what was given, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Another kind of proxy, or one that would not resolve names.
    #[error(
        "a proxy is given as socks5h://host:port; the h says that it resolves names, and nothing else is used"
    )]
    Scheme,
    /// No proper host.
    #[error("the proxy's host is no name or address")]
    Host,
    /// No proper port.
    #[error("the proxy's port is not a number from 1 to 65535")]
    Port,
    /// User or password.
    #[error(
        "user and password of the proxy are 1 to 255 bytes each, in a URL percent-encoded where needed"
    )]
    Credentials,
}

impl ProxyError {
    /// Stable name of the reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Scheme => "PROXY_SCHEME",
            Self::Host => "PROXY_HOST",
            Self::Port => "PROXY_PORT",
            Self::Credentials => "PROXY_CREDENTIALS",
        }
    }
}

impl Proxy {
    /// Reads `socks5h://[user:password@]host[:port]`; port 1080 if none is given. User and password are
    /// percent-encoded where they hold `:`, `@`, `%` or `/`; an IPv6 address stands in brackets.
    pub fn from_url(url: &str) -> Result<Self, ProxyError> {
        let (scheme, rest) = url.split_once("://").ok_or(ProxyError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("socks5h") {
            return Err(ProxyError::Scheme);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((login, place)) => {
                let (user, password) = login.split_once(':').ok_or(ProxyError::Credentials)?;
                let login = Credentials::new(decode(user)?, decode(password)?)?;
                (Some(login), place)
            }
            None => (None, rest),
        };
        let (host, port) = split_port(place)?;
        check_host(host)?;
        Ok(Self {
            host: host.to_owned(),
            port,
            credentials,
        })
    }

    /// The same proxy with the login of a file: `user:password` on its first line, taken as it stands.
    pub fn with_login(mut self, line: &str) -> Result<Self, ProxyError> {
        let line = line.lines().next().unwrap_or_default();
        let (user, password) = line.split_once(':').ok_or(ProxyError::Credentials)?;
        let text = |text: &str| Zeroizing::new(text.to_owned());
        self.credentials = Some(Credentials::new(text(user), text(password))?);
        Ok(self)
    }

    /// Host as in a URL: an IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("login", &self.credentials.is_some())
            .finish()
    }
}

impl Credentials {
    fn new(user: Zeroizing<String>, password: Zeroizing<String>) -> Result<Self, ProxyError> {
        let fits = |text: &str| (1..=MAX_CREDENTIAL).contains(&text.len());
        if !fits(&user) || !fits(&password) {
            return Err(ProxyError::Credentials);
        }
        Ok(Self { user, password })
    }
}

fn split_port(place: &str) -> Result<(&str, u16), ProxyError> {
    // A colon within brackets belongs to the address.
    let after = place.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = place.get(after..).and_then(|rest| rest.find(':')) else {
        return Ok((place, DEFAULT_PORT));
    };
    let (host, port) = (place.get(..after + colon), place.get(after + colon + 1..));
    let (Some(host), Some(port)) = (host, port) else {
        return Err(ProxyError::Host);
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port != 0);
    Ok((host, port.ok_or(ProxyError::Port)?))
}

fn check_host(host: &str) -> Result<(), ProxyError> {
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        return match address {
            Some(Ok(_)) => Ok(()),
            _ => Err(ProxyError::Host),
        };
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let numeric = host
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let good = (1..=MAX_HOST).contains(&host.len())
        && host.bytes().all(plain)
        && !host.starts_with('.')
        && (!numeric || host.parse::<Ipv4Addr>().is_ok());
    if good { Ok(()) } else { Err(ProxyError::Host) }
}

/// Percent-decoding (RFC 3986).
fn decode(text: &str) -> Result<Zeroizing<String>, ProxyError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or(ProxyError::Credentials)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| ProxyError::Credentials)?;
        bytes.push(byte[0]);
        rest = tail;
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| ProxyError::Credentials)?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_read() {
        let proxy = Proxy::from_url("socks5h://127.0.0.1:9050").unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("127.0.0.1", 9050));
        assert!(proxy.credentials().is_none());
        let proxy = Proxy::from_url("SOCKS5H://tor.example/").unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("tor.example", 1080));
        let proxy = Proxy::from_url("socks5h://al%3ace:p%40ss%25@[::1]:1081").unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("[::1]", 1081));
        let login = proxy.credentials().unwrap();
        assert_eq!((&**login.user, &**login.password), ("al:ce", "p@ss%"));
        let shown = format!("{proxy:?}");
        assert!(
            !shown.contains("p@ss") && !shown.contains("al:ce"),
            "{shown}"
        );
    }

    #[test]
    fn a_login_may_come_from_a_file() {
        let proxy = Proxy::from_url("socks5h://127.0.0.1").unwrap();
        let proxy = proxy.with_login("alice:pass:word%41\nsecond line").unwrap();
        let login = proxy.credentials().unwrap();
        assert_eq!(
            (&**login.user, &**login.password),
            ("alice", "pass:word%41")
        );
        let proxy = Proxy::from_url("socks5h://127.0.0.1").unwrap();
        assert_eq!(
            proxy.clone().with_login("alice"),
            Err(ProxyError::Credentials)
        );
        assert_eq!(proxy.clone().with_login(""), Err(ProxyError::Credentials));
        let long = format!("alice:{}", "x".repeat(256));
        assert_eq!(proxy.with_login(&long), Err(ProxyError::Credentials));
    }

    #[test]
    fn what_is_no_such_proxy_is_refused() {
        use ProxyError::{Credentials, Host, Port, Scheme};
        let cases = [
            ("", Scheme),
            ("127.0.0.1:9050", Scheme),
            // It would resolve names here.
            ("socks5://127.0.0.1:9050", Scheme),
            ("http://127.0.0.1:8080", Scheme),
            ("socks5h://", Host),
            ("socks5h://:9050", Host),
            ("socks5h://a b", Host),
            ("socks5h://127.0.0.300", Host),
            ("socks5h://::1:9050", Port),
            ("socks5h://[::1", Port),
            ("socks5h://[::g]", Host),
            ("socks5h://a/b", Host),
            ("socks5h://a:0", Port),
            ("socks5h://a:65536", Port),
            ("socks5h://a:+1", Port),
            ("socks5h://a:", Port),
            ("socks5h://user@a", Credentials),
            ("socks5h://:password@a", Credentials),
            ("socks5h://user:@a", Credentials),
            ("socks5h://user:%4@a", Credentials),
            ("socks5h://user:%ff@a", Credentials),
        ];
        for (url, error) in cases {
            assert_eq!(Proxy::from_url(url), Err(error), "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(socks5h://)?.{0,80}", line in ".{0,40}") {
            if let Ok(proxy) = Proxy::from_url(&text) {
                prop_assert!(proxy.port() != 0 && !proxy.host().is_empty());
                drop(proxy.with_login(&line));
            }
        }

        #[test]
        fn what_is_put_in_is_read_out(
            user in "\\PC{1,40}", password in "\\PC{1,40}", host in "[a-z][a-z0-9-]{0,20}(\\.[a-z]{2,5})?", port: u16,
        ) {
            let port = port.max(1);
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            let url = format!("socks5h://{}:{}@{host}:{port}", encode(&user), encode(&password));
            let proxy = Proxy::from_url(&url).unwrap();
            prop_assert_eq!((proxy.host(), proxy.port()), (host.as_str(), port));
            let login = proxy.credentials().unwrap();
            prop_assert_eq!((login.user.as_str(), login.password.as_str()), (user.as_str(), password.as_str()));
        }
    }
}
