//! The control interface of a network: HTTP on loopback for those who know the token.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use hyper::Method;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Contact, Control, Order, PATH, TOKEN, contact_file};
use crate::http::{self, Call, Reply, Service};
use crate::network::LocalnetError;

struct Server {
    control: Control,
    token: String,
}

/// Listens, writes `control.json`, serves.
pub(crate) async fn start(
    control: Control,
    state_dir: &Path,
) -> Result<(SocketAddr, JoinHandle<()>), LocalnetError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let failed = |source| LocalnetError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let mut token = [0; 32];
    getrandom::fill(&mut token).map_err(crate::state::StateError::from)?;
    let token = hex::encode(token);
    let contact = Contact {
        url: format!("http://{address}{PATH}"),
        token: token.clone(),
    };
    let path = contact_file(state_dir);
    write(&path, &contact).map_err(|source| LocalnetError::ControlFile { path, source })?;
    let server = Arc::new(Server { control, token });
    Ok((address, tokio::spawn(http::serve(listener, None, server))))
}

/// In one step, readable by its owner only.
fn write(path: &Path, contact: &Contact) -> std::io::Result<()> {
    let mut neighbour = path.as_os_str().to_owned();
    neighbour.push(".new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&neighbour)?;
    serde_json::to_writer(&mut file, contact)?;
    std::fs::rename(&neighbour, path)
}

impl Service for Server {
    async fn answer(self: Arc<Self>, call: Call) -> Option<Reply> {
        if call.method != Method::POST || call.target != PATH {
            return Some(Reply::text(404, "Not found"));
        }
        // Of 256 random bits; what a comparison's duration tells about them is of no use.
        let token = call.headers.get(TOKEN).map(|token| token.as_bytes());
        if token != Some(self.token.as_bytes()) {
            return Some(Reply::text(401, "not the token in control.json"));
        }
        let order: Order = match serde_json::from_slice(&call.body) {
            Ok(order) => order,
            Err(error) => return Some(Reply::text(400, error.to_string())),
        };
        Some(match self.control.run(&order).await {
            Ok(status) => match serde_json::to_value(&status) {
                Ok(status) => Reply::json(200, &status),
                Err(error) => Reply::text(500, error.to_string()),
            },
            Err(error) => Reply::text(400, error.to_string()),
        })
    }
}
