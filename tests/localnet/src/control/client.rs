//! Orders faults of a network that runs in another process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::{Contact, Order, Status, TOKEN, contact_file};
use crate::faults::Faults;

/// A node that goes down may take 5 s to close its files.
const LIMIT: Duration = Duration::from_secs(60);
/// Largest answer, bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no network with this state directory, or it does not serve its control interface.
    #[error("{path}: {source}")]
    Contact {
        /// The file that says where.
        path: PathBuf,
        /// Why it cannot be used.
        source: std::io::Error,
    },
    /// The network does not answer; it has ended, mostly.
    #[error("the network does not answer: {0}")]
    Unreachable(String),
    /// The network refuses.
    #[error("{0}")]
    Refused(String),
}

/// Speaks to a network's control interface.
pub struct ControlClient {
    client: Client<HttpConnector, Full<Bytes>>,
    contact: Contact,
}

impl ControlClient {
    /// Reads where it is from the network's state directory.
    pub fn open(state_dir: &Path) -> Result<Self, ControlError> {
        let path = contact_file(state_dir);
        let read = std::fs::read(&path)
            .and_then(|text| serde_json::from_slice(&text).map_err(std::io::Error::from));
        let contact = read.map_err(|source| ControlError::Contact { path, source })?;
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            contact,
        })
    }

    /// Has an order carried out; answers how everything is then.
    pub async fn run(&self, order: &Order) -> Result<Status, ControlError> {
        let unreachable =
            |error: &dyn std::fmt::Display| ControlError::Unreachable(error.to_string());
        let body = serde_json::to_vec(order).map_err(|error| unreachable(&error))?;
        let request = Request::post(&self.contact.url)
            .header(TOKEN, &self.contact.token)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unreachable(&error))?;
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| unreachable(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
            let body = body.await.map_err(|error| unreachable(&error))?.to_bytes();
            if status.is_success() {
                serde_json::from_slice(&body).map_err(|error| unreachable(&error))
            } else {
                let text = String::from_utf8_lossy(&body).into_owned();
                Err(ControlError::Refused(text))
            }
        };
        tokio::time::timeout(LIMIT, exchange)
            .await
            .unwrap_or_else(|elapsed| Err(unreachable(&elapsed)))
    }

    /// From now on exactly these faults; `node` as in [`Order`].
    pub async fn set(
        &self,
        node: impl std::fmt::Display,
        faults: Faults,
    ) -> Result<Status, ControlError> {
        let node = node.to_string();
        self.run(&Order::Faults { node, faults }).await
    }
}
