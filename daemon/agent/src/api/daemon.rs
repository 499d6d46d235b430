//! DaemonService.

use sessiond_proto::v1::daemon_service_server::DaemonService;
use sessiond_proto::v1::{self, DaemonState};
use tonic::{Request, Response, Status};

use super::Api;
use crate::agent::State;
use crate::time::timestamp;

#[tonic::async_trait]
impl DaemonService for Api {
    async fn get_info(
        &self,
        _request: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::GetInfoResponse>, Status> {
        let (state, locked_reason) = match self.agent.state().await {
            State::NoAccount => (DaemonState::NoAccount, ""),
            State::Locked(reason) => (DaemonState::Locked, reason),
            State::Ready(_) => (DaemonState::Ready, ""),
        };
        Ok(Response::new(v1::GetInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            start_time: timestamp(self.agent.started_ms()),
            network: self.agent.network().name().to_owned(),
            vault: self.agent.vault().name().to_owned(),
            state: state.into(),
            locked_reason: locked_reason.to_owned(),
        }))
    }

    async fn shutdown(
        &self,
        _request: Request<v1::ShutdownRequest>,
    ) -> Result<Response<v1::ShutdownResponse>, Status> {
        self.agent.request_stop();
        Ok(Response::new(v1::ShutdownResponse {}))
    }
}
