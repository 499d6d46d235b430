//! `grpc.health.v1`, for monitors that know nothing of this agent, from the checks of [`crate::health`].
//!
//! Names: empty is everything; `sessiond.` and the name of a check is that check; a service of the API serves while
//! the account it needs is unlocked and something can be stored. A warning serves. Nothing is looked at until somebody
//! asks; a watch looks every few seconds for as long as it is there.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::agent::{Agent, State};
use crate::health::{self, Level, Subject};

/// How often a watch looks.
const LOOK: Duration = Duration::from_secs(5);

/// The package of the API's services.
const PACKAGE: &str = "sessiond.v1.";
/// Before the name of a check.
const CHECK: &str = "sessiond.";
/// Services that need an account.
const WITH_ACCOUNT: [&str; 6] = [
    "ConversationService",
    "MessageService",
    "CallService",
    "EventService",
    "SettingsService",
    "FocusService",
];
/// Services that always answer.
const ALWAYS: [&str; 3] = ["DaemonService", "AccountService", "NetworkService"];

/// What somebody asks about.
#[derive(Clone, Copy)]
enum About {
    Everything,
    One(Subject),
    Account,
    Answering,
}

fn about(service: &str) -> Option<About> {
    if service.is_empty() {
        return Some(About::Everything);
    }
    if let Some(name) = service.strip_prefix(PACKAGE) {
        return match name {
            _ if WITH_ACCOUNT.contains(&name) => Some(About::Account),
            _ if ALWAYS.contains(&name) => Some(About::Answering),
            _ => None,
        };
    }
    let name = service.strip_prefix(CHECK)?;
    let subject = Subject::ALL.into_iter().find(|s| s.name() == name)?;
    Some(About::One(subject))
}

/// The service.
#[derive(Clone)]
pub struct HealthApi {
    agent: Arc<Agent>,
    stop: watch::Receiver<bool>,
}

impl HealthApi {
    /// Health of an agent. Watches end when `stop` turns true.
    pub fn new(agent: Arc<Agent>, stop: watch::Receiver<bool>) -> Self {
        Self { agent, stop }
    }

    async fn look(&self, about: About) -> ServingStatus {
        let serves = match about {
            About::Answering => true,
            About::Account => {
                let ready = matches!(self.agent.state().await, State::Ready(_));
                ready && self.agent.health().blocked().is_none()
            }
            About::Everything | About::One(_) => {
                let health = health::examine(&self.agent).await;
                let level = match about {
                    About::One(subject) => health.of(subject),
                    _ => health.level(),
                };
                level < Level::Failed
            }
        };
        if serves {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

/// A watch: what it asks about, and what it was told last.
struct Watch {
    health: HealthApi,
    about: Option<About>,
    told: Option<ServingStatus>,
}

impl Watch {
    /// Waits for the next change.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        let mut stop = self.health.stop.clone();
        loop {
            let now = match self.about {
                // Never becomes known while this agent runs.
                None => ServingStatus::ServiceUnknown,
                Some(about) => self.health.look(about).await,
            };
            if self.told.replace(now) != Some(now) {
                return Some((Ok(answer(now)), self));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => return None,
            }
        }
    }
}

#[tonic::async_trait]
impl Health for HealthApi {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let Some(about) = about(&request.get_ref().service) else {
            return Err(Status::not_found("no service or check has this name"));
        };
        Ok(Response::new(answer(self.look(about).await)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watch = Watch {
            health: self.clone(),
            about: about(&request.get_ref().service),
            told: None,
        };
        Ok(Response::new(Box::pin(stream::unfold(watch, Watch::next))))
    }
}
