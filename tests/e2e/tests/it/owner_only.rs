//! Who may talk to the agent, and what it tells about itself: peers' user ids, reflection, health.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sessiond_client::{Client, v1};
use tonic::Response;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::harness::{Agent, Localnet, cannot, run, until};

/// What every Linux system calls nobody.
const NOBODY: &str = "65534";

const SERVICES: [&str; 10] = [
    "grpc.health.v1.Health",
    "sessiond.v1.AccountService",
    "sessiond.v1.CallService",
    "sessiond.v1.ConversationService",
    "sessiond.v1.DaemonService",
    "sessiond.v1.EventService",
    "sessiond.v1.FocusService",
    "sessiond.v1.MessageService",
    "sessiond.v1.NetworkService",
    "sessiond.v1.SettingsService",
];

async fn channel(agent: &Agent) -> Channel {
    let uri = format!("unix:{}", agent.socket().display());
    Endpoint::from_shared(uri).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn health() {
    let net = Localnet::start().await;
    let agent = Agent::start(&net, "a").await;
    let mut client = HealthClient::new(channel(&agent).await);
    let mut status = async |service: &str| {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = client.check(request).await;
        answer.map(|answer: Response<HealthCheckResponse>| answer.into_inner().status())
    };
    // Without an account it is well, and messages are not served yet.
    for service in [
        "",
        "sessiond.tasks",
        "sessiond.disk",
        "sessiond.v1.AccountService",
    ] {
        assert_eq!(
            status(service).await.unwrap(),
            ServingStatus::Serving,
            "{service:?}"
        );
    }
    let messages = "sessiond.v1.MessageService";
    assert_eq!(status(messages).await.unwrap(), ServingStatus::NotServing);
    let unknown = status("sessiond.nonsense").await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    agent.create("a").await;
    for service in [
        "",
        messages,
        "sessiond.vault",
        "sessiond.receiving",
        "sessiond.sending",
    ] {
        assert_eq!(
            status(service).await.unwrap(),
            ServingStatus::Serving,
            "{service:?}"
        );
    }
}

/// A watch tells a change without being asked again, and a name that means nothing as such.
#[tokio::test]
async fn a_watch_tells_of_changes() {
    let net = Localnet::start().await;
    let agent = Agent::start(&net, "a").await;
    let mut client = HealthClient::new(channel(&agent).await);
    let mut watch = async |service: &str| {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        client.watch(request).await.unwrap().into_inner()
    };
    let mut unknown = watch("sessiond.nonsense").await;
    let mut messages = watch("sessiond.v1.MessageService").await;
    let told = unknown.message().await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::ServiceUnknown);
    let told = messages.message().await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::NotServing);
    agent.create("a").await;
    let change = tokio::time::timeout(Duration::from_secs(50), messages.message()).await;
    let told = change.expect("a change that is not told").unwrap();
    assert_eq!(told.unwrap().status(), ServingStatus::Serving);
}

/// The checks of a ready agent, and of one that is locked.
#[tokio::test]
async fn health_says_what_is_wrong() {
    let net = Localnet::start().await;
    let (agent, _) = Agent::with_account(&net, "a").await;
    let examine = async || {
        agent
            .client()
            .get_health(v1::GetHealthRequest {})
            .await
            .unwrap()
    };
    let health = examine().await;
    let names: Vec<&str> = health.checks.iter().map(|check| &*check.name).collect();
    assert_eq!(
        names,
        ["tasks", "disk", "storage", "vault", "receiving", "sending"]
    );
    assert!(health.disk_free_bytes > 0);
    assert_ne!(health.state(), v1::HealthState::Failed, "{health:?}");
    until("the own swarm to answer", async || {
        let receiving = examine().await.checks.swap_remove(4);
        let well = receiving.state() == v1::HealthState::Ok && receiving.since_time.is_some();
        well.then_some(())
    })
    .await;

    agent.client().lock_and_wait().await.unwrap();
    let health = examine().await;
    assert_eq!(health.state(), v1::HealthState::Failed);
    let vault = &health.checks[3];
    assert_eq!((&*vault.name, &*vault.reason), ("vault", "LOCKED_BY_USER"));
    assert!(vault.since_time.is_some());
    for check in &health.checks[4..] {
        assert_eq!(check.reason, "LOCKED", "{check:?}");
        assert!(check.since_time.is_some());
    }
    let mut client = HealthClient::new(channel(&agent).await);
    for service in [
        "",
        "sessiond.vault",
        "sessiond.receiving",
        "sessiond.sending",
        "sessiond.v1.EventService",
    ] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = client.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::NotServing, "{service:?}");
    }
}

macro_rules! services_by_reflection {
    ($version:ident, $channel:expr) => {{
        use pb::server_reflection_request::MessageRequest;
        use pb::server_reflection_response::MessageResponse;
        use tonic_reflection::pb::$version as pb;
        let mut client = pb::server_reflection_client::ServerReflectionClient::new($channel);
        let mut ask = async |what: MessageRequest| {
            let request = pb::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(what),
            };
            let requests = futures_util::stream::iter([request]);
            let answers = client.server_reflection_info(requests).await.unwrap();
            let answer = answers.into_inner().message().await.unwrap().unwrap();
            answer.message_response.unwrap()
        };
        let mut names: Vec<String> = match ask(MessageRequest::ListServices(String::new())).await {
            MessageResponse::ListServicesResponse(list) => list
                .service
                .into_iter()
                .map(|service| service.name)
                .collect(),
            other => panic!("no list: {other:?}"),
        };
        // Every service that is named can be described.
        for name in &names {
            let what = MessageRequest::FileContainingSymbol(name.clone());
            match ask(what).await {
                MessageResponse::FileDescriptorResponse(files) => {
                    assert!(!files.file_descriptor_proto.is_empty(), "{name}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        names.retain(|name| !name.starts_with("grpc.reflection."));
        names.sort();
        names
    }};
}

#[tokio::test]
async fn reflection() {
    let net = Localnet::start().await;
    let agent = Agent::start(&net, "a").await;
    let channel = channel(&agent).await;
    assert_eq!(services_by_reflection!(v1, channel.clone()), SERVICES);
    assert_eq!(services_by_reflection!(v1alpha, channel), SERVICES);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Another user who gets as far as the socket is hung up on before a byte is said.
#[tokio::test]
async fn another_user_is_refused() {
    let net = Localnet::start().await;
    let (agent, _) = Agent::with_account(&net, "a").await;
    let socket = agent.socket();
    assert_eq!(mode(&socket), 0o600);
    if Client::builder().socket(&socket).connect().await.is_err() {
        panic!("the owner is refused");
    }
    let room = net.room.path();
    let binary = room.join("knock");
    fs::copy(env!("CARGO_BIN_EXE_e2e-node"), &binary).unwrap();
    fs::copy(&binary, room.join("sessionctl")).unwrap();
    let as_owner = Command::new("setpriv");
    let knock = |mut setpriv: Command, to_nobody: bool| {
        if to_nobody {
            let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
            setpriv.args([&user, &group]).arg("--clear-groups");
        }
        setpriv.arg(&binary).arg(&socket);
        setpriv
    };
    if !rustix::process::geteuid().is_root() {
        return cannot("only root can take another user's id");
    }
    if Command::new("setpriv").arg("--version").output().is_err() {
        return cannot("setpriv is not installed");
    }
    // Only the agent's own check is left to stop a stranger.
    fs::set_permissions(room, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let owner = run(knock(as_owner, false), b"").await;
    assert_eq!(owner.code, Some(0), "{owner:?}");
    assert!(owner.out.trim().parse::<usize>().unwrap() > 0, "{owner:?}");
    let stranger = run(knock(Command::new("setpriv"), true), b"").await;
    assert_eq!(
        (stranger.code, stranger.out.as_str()),
        (Some(0), "0\n"),
        "{stranger:?}"
    );

    // And the command line does not talk to an agent of somebody else.
    let mut ctl = Command::new("setpriv");
    ctl.arg(format!("--reuid={NOBODY}"))
        .arg(format!("--regid={NOBODY}"));
    ctl.arg("--clear-groups").arg(room.join("sessionctl"));
    ctl.arg("--json").arg("--socket").arg(&socket).arg("status");
    let refused = run(ctl, b"").await;
    assert_eq!(
        (refused.code, refused.out.as_str()),
        (Some(3), ""),
        "{refused:?}"
    );
    assert!(refused.err.contains("SOCKET_NOT_OURS"), "{refused:?}");
}
