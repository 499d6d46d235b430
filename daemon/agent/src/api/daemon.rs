//! DaemonService.

use sessiond_proto::v1::daemon_service_server::DaemonService;
use sessiond_proto::v1::{self, DaemonState, DatabaseCheck};
use tonic::{Request, Response, Status};

use super::Api;
use super::error::{from_agent, from_store, status};
use crate::agent::State;
use crate::health::{self, Level};
use crate::metrics::{self, MetricsError};
use crate::store::health::{Check, Condition};
use crate::time::timestamp;

fn storage(condition: &Condition) -> v1::StorageStatus {
    let (check, check_ms) = match condition.check {
        Check::None => (DatabaseCheck::Unspecified, 0),
        Check::Running => (DatabaseCheck::Running, 0),
        Check::Sound(at_ms) => (DatabaseCheck::Sound, at_ms),
        Check::Damaged(at_ms) => (DatabaseCheck::Damaged, at_ms),
    };
    let (problem, since_ms) = match condition.blocked {
        Some((trouble, since_ms)) => (trouble.reason(), since_ms),
        None => ("", 0),
    };
    v1::StorageStatus {
        problem: problem.to_owned(),
        problem_time: timestamp(since_ms),
        unclean_stop: condition.unclean_stop,
        check: check.into(),
        check_time: timestamp(check_ms),
        copies: condition
            .copies
            .iter()
            .map(|kept| v1::SafetyCopy {
                kind: kept.kind.name().to_owned(),
                create_time: timestamp(kept.made_ms),
                end_time: timestamp(kept.ends_ms),
            })
            .collect(),
        salvage: condition.salvage.map(|report| v1::Salvage {
            time: timestamp(report.at_ms),
            damaged_page_count: report.damaged_pages,
            kept_message_count: report.kept_messages,
            lost_message_count: report.lost_messages,
            unsent_message_count: report.unsent_messages,
        }),
    }
}

fn level(level: Level) -> v1::HealthState {
    match level {
        Level::Ok => v1::HealthState::Ok,
        Level::Warning => v1::HealthState::Warning,
        Level::Failed => v1::HealthState::Failed,
    }
}

fn check(check: health::Check) -> v1::HealthCheck {
    v1::HealthCheck {
        name: check.subject.name().to_owned(),
        state: level(check.level).into(),
        reason: check.reason.to_owned(),
        detail: check.detail,
        since_time: check.since_ms.and_then(timestamp),
    }
}

#[tonic::async_trait]
impl DaemonService for Api {
    async fn get_info(
        &self,
        _request: Request<v1::GetInfoRequest>,
    ) -> Result<Response<v1::GetInfoResponse>, Status> {
        let state = self.agent.state().await;
        let vault = self.agent.vault().await.map_err(from_agent)?;
        let mut info = v1::GetInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            start_time: timestamp(self.agent.started_ms()),
            network: self.agent.network().name().to_owned(),
            vault: vault.name().to_owned(),
            state: match &state {
                State::NoAccount => DaemonState::NoAccount,
                State::Locked(_) => DaemonState::Locked,
                State::Ready(_) => DaemonState::Ready,
            }
            .into(),
            storage: Some(storage(&self.agent.health().now())),
            ..Default::default()
        };
        if let State::Locked(locked) = state {
            info.locked_reason = locked.reason.to_owned();
            info.locked_since = timestamp(locked.since_ms);
            info.locked_warning = locked.warning(self.agent.now_ms()).to_owned();
        }
        Ok(Response::new(info))
    }

    async fn get_health(
        &self,
        _request: Request<v1::GetHealthRequest>,
    ) -> Result<Response<v1::GetHealthResponse>, Status> {
        let health = health::examine(&self.agent).await;
        Ok(Response::new(v1::GetHealthResponse {
            state: level(health.level()).into(),
            last_poll_time: health.last_poll_ms.and_then(timestamp),
            outbox_count: u32::try_from(health.outbox_count).unwrap_or(u32::MAX),
            outbox_oldest_time: health.outbox_oldest_ms.and_then(timestamp),
            disk_free_bytes: health.disk_free.unwrap_or(0),
            checks: health.checks.into_iter().map(check).collect(),
        }))
    }

    async fn get_metrics(
        &self,
        _request: Request<v1::GetMetricsRequest>,
    ) -> Result<Response<v1::GetMetricsResponse>, Status> {
        let text = metrics::text(&self.agent)
            .await
            .map_err(|error| match error {
                MetricsError::Store(error) => from_store(error),
                MetricsError::Format(_) => {
                    status(tonic::Code::Internal, "METRICS_FAILED", error.to_string())
                }
            })?;
        Ok(Response::new(v1::GetMetricsResponse { text }))
    }

    async fn shutdown(
        &self,
        _request: Request<v1::ShutdownRequest>,
    ) -> Result<Response<v1::ShutdownResponse>, Status> {
        self.agent.request_stop();
        Ok(Response::new(v1::ShutdownResponse {}))
    }
}
