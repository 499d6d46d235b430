//! The server on the socket.
//!
//! Only the owner gets in (design.md promise 5): the socket is private ([`crate::platform::listener`]), and every peer's
//! uid is checked. Connections, streams, sizes and deadlines are bounded.

use std::sync::Arc;
use std::time::Duration;

use sessiond_proto::FILE_DESCRIPTOR_SET;
use sessiond_proto::v1::{
    account_service_server::AccountServiceServer, call_service_server::CallServiceServer,
    conversation_service_server::ConversationServiceServer,
    daemon_service_server::DaemonServiceServer, event_service_server::EventServiceServer,
    focus_service_server::FocusServiceServer, message_service_server::MessageServiceServer,
    network_service_server::NetworkServiceServer, settings_service_server::SettingsServiceServer,
};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;

use super::Api;
use super::health::HealthApi;
use super::peer::peers;
use crate::metrics::Counted;

/// Largest request.
const MAX_REQUEST: usize = 1024 * 1024;
/// Streams and calls at once on one connection.
const MAX_STREAMS: u32 = 256;
/// Longest a call may take until its answer begins.
const CALL: Duration = Duration::from_secs(120);
/// Longest a stop waits for calls under way.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until `stop` turns true, then lets calls under way end.
pub async fn serve(
    listener: UnixListener,
    api: Api,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let health = HealthApi::new(Arc::clone(&api.agent), stop.clone());
    let reflect = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut stopping = stop.clone();
    let server = Server::builder()
        .layer(tower::layer::layer_fn(Counted))
        .timeout(CALL)
        .max_concurrent_streams(Some(MAX_STREAMS))
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(30)))
        .add_service(AccountServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST))
        .add_service(
            ConversationServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST),
        )
        .add_service(MessageServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST))
        .add_service(CallServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST))
        .add_service(EventServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST))
        .add_service(NetworkServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST))
        .add_service(FocusServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST))
        .add_service(SettingsServiceServer::new(api.clone()).max_decoding_message_size(MAX_REQUEST))
        .add_service(DaemonServiceServer::new(api).max_decoding_message_size(MAX_REQUEST))
        .add_service(HealthServer::new(health).max_decoding_message_size(MAX_REQUEST))
        .add_service(reflect().build_v1()?)
        .add_service(reflect().build_v1alpha()?)
        .serve_with_incoming_shutdown(peers(listener), async move {
            drop(stopping.wait_for(|stop| *stop).await);
        });
    tokio::select! {
        served = server => served?,
        () = async {
            drop(stop.wait_for(|stop| *stop).await);
            tokio::time::sleep(DRAIN).await;
        } => tracing::warn!("calls that were still under way were cut off"),
    }
    Ok(())
}
