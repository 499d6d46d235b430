//! NetworkService.

use session_network::{ConnectionState, DroppedPath, PathInfo};
use sessiond_proto::v1;
use sessiond_proto::v1::network_service_server::NetworkService;
use tonic::{Request, Response, Status};

use super::Api;
use super::error::{from_poll, from_store, status};
use crate::agent::State;
use crate::store::{StoreError, outbox, received};
use crate::time::{duration_ms, timestamp, to_db};

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn path(info: PathInfo) -> v1::Path {
    let latency = info
        .latency
        .and_then(|latency| i64::try_from(latency.as_micros()).ok());
    v1::Path {
        id: info.id,
        hops: info
            .hops
            .into_iter()
            .map(|hop| v1::Hop {
                node_key: hex::encode(hop.ed25519),
                ip_address: hop.ip.to_string(),
                port: u32::from(hop.port),
            })
            .collect(),
        create_time: timestamp(to_db(info.created_ms)),
        last_success_time: info.last_success_ms.map(to_db).and_then(timestamp),
        latency: latency.map(|micros| prost_types::Duration {
            seconds: micros / 1_000_000,
            nanos: i32::try_from(micros % 1_000_000).unwrap_or(0) * 1_000,
        }),
        isolation: info.isolation,
        suspect: info.suspect,
        relaxation: info.relaxed.name().unwrap_or_default().to_owned(),
        drop: None,
    }
}

fn dropped(info: DroppedPath) -> v1::Path {
    let drop = v1::PathDrop {
        reason: info.reason.to_owned(),
        blamed_hop: info.hop.map(count),
        drop_time: timestamp(to_db(info.dropped_ms)),
    };
    v1::Path {
        drop: Some(drop),
        ..path(info.path)
    }
}

#[tonic::async_trait]
impl NetworkService for Api {
    async fn get_network_status(
        &self,
        _request: Request<v1::GetNetworkStatusRequest>,
    ) -> Result<Response<v1::GetNetworkStatusResponse>, Status> {
        let network = self.agent.network();
        let current = network.status();
        let (last_poll_ms, waiting, counts) = match self.agent.state().await {
            State::Ready(account) => {
                let context = account.context();
                let read = async {
                    let mut connection = context.db.readers().acquire().await?;
                    let waiting = outbox::count(&mut connection).await?;
                    Ok((waiting, received::counts(&mut connection).await?))
                };
                let (waiting, counts) =
                    read.await.map_err(|error: StoreError| from_store(error))?;
                (context.progress.last_poll_ms(), waiting, counts)
            }
            _ => (0, 0, Vec::new()),
        };
        let state = match current.state {
            ConnectionState::Connecting => v1::ConnectionState::Connecting,
            ConnectionState::Connected => v1::ConnectionState::Connected,
            ConnectionState::Disconnected => v1::ConnectionState::Disconnected,
        };
        Ok(Response::new(v1::GetNetworkStatusResponse {
            network: network.name().to_owned(),
            state: state.into(),
            node_count: count(current.node_count),
            path_count: count(current.path_count),
            clock_offset: Some(duration_ms(current.clock_offset_ms)),
            last_poll_time: timestamp(last_poll_ms),
            outbox_count: u32::try_from(waiting).unwrap_or(0),
            last_error: current.last_error.unwrap_or_default().to_owned(),
            uses_proxy: network.uses_proxy(),
            relaxation: current.relaxed.name().unwrap_or_default().to_owned(),
            refusals: counts
                .into_iter()
                .map(|(reason, count)| v1::Refusal {
                    reason,
                    count: u64::try_from(count).unwrap_or(0),
                })
                .collect(),
        }))
    }

    async fn list_paths(
        &self,
        _request: Request<v1::ListPathsRequest>,
    ) -> Result<Response<v1::ListPathsResponse>, Status> {
        let network = self.agent.network();
        Ok(Response::new(v1::ListPathsResponse {
            paths: network.paths().into_iter().map(path).collect(),
            dropped_paths: network.dropped_paths().into_iter().map(dropped).collect(),
        }))
    }

    async fn sync(
        &self,
        request: Request<v1::SyncRequest>,
    ) -> Result<Response<v1::SyncResponse>, Status> {
        let account = self.account(&request.get_ref().account).await?;
        account.hurry().await.map_err(from_store)?;
        match account.poller().poll().await {
            Some(Ok(polled)) => Ok(Response::new(v1::SyncResponse {
                new_message_count: polled.new_messages,
                poll_time: timestamp(polled.at_ms),
            })),
            Some(Err(error)) => Err(from_poll(&error)),
            None => Err(status(
                tonic::Code::Unavailable,
                "STOPPING",
                "the agent is stopping",
            )),
        }
    }
}
