//! One connection to the agent and every call over it.
//!
//! A call ends by its deadline, whatever the agent does. The generated clients are there for what
//! the methods do not cover; they carry the same deadline in every call that is not a stream.

use std::{path::PathBuf, time::Duration};

use sessiond_proto::{
    socket,
    v1::{
        self, account_service_client::AccountServiceClient, call_service_client::CallServiceClient,
        conversation_service_client::ConversationServiceClient,
        daemon_service_client::DaemonServiceClient, event_service_client::EventServiceClient,
        focus_service_client::FocusServiceClient, message_service_client::MessageServiceClient,
        network_service_client::NetworkServiceClient,
        settings_service_client::SettingsServiceClient,
    },
};
use tokio::time::Instant;
use tonic::{
    GrpcMethod, Request, Response, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::{ConnectError, Error, connect};

/// A page holds up to 200 messages of 10,000 code points, more than gRPC's usual 4 MiB.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Between two looks whether an agent that begins anew is back.
const LOOK: Duration = Duration::from_millis(20);

/// What the transport's own deadline is given before the call is ended here.
const SLACK: Duration = Duration::from_millis(500);

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Connecting: 5 s.
    pub connect: Duration,
    /// A call, and the start of a stream: 20 s. The agent answers from its own disk.
    pub call: Duration,
    /// A call that waits for the network (`Sync`, `SendCallSignal`, `DeleteAccount`) or for a vault, which may ask the
    /// user for a password: 90 s.
    pub network: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            call: Duration::from_secs(20),
            network: Duration::from_secs(90),
        }
    }
}

/// The channel of a generated client, with a deadline on every call that is not a stream.
pub type Guarded = InterceptedService<Channel, DeadlineHeader>;

/// Puts the deadline into a call's metadata, where both sides heed it.
#[derive(Debug, Clone, Copy)]
pub struct DeadlineHeader(Deadlines);

impl Interceptor for DeadlineHeader {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let method = request
            .extensions()
            .get::<GrpcMethod<'_>>()
            .map(|m| m.method());
        let deadline = match method {
            // A stream lives as long as its reader.
            Some("Subscribe") => None,
            Some(
                "Sync" | "SendCallSignal" | "CreateAccount" | "RestoreAccount" | "DeleteAccount"
                | "Lock" | "Unlock" | "GetVault" | "MoveVault",
            ) => Some(self.0.network),
            _ => Some(self.0.call),
        };
        if let Some(deadline) = deadline
            && !request.metadata().contains_key("grpc-timeout")
        {
            request.set_timeout(deadline);
        }
        Ok(request)
    }
}

/// How to connect; made by [`Client::builder`].
#[derive(Debug, Clone, Default)]
pub struct ClientBuilder {
    socket: Option<PathBuf>,
    deadlines: Deadlines,
}

impl ClientBuilder {
    /// Uses this socket whatever the environment says.
    #[must_use]
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// Replaces the default deadlines.
    #[must_use]
    pub fn deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Connects now.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which also says what to do about it.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let socket = socket::socket_path(self.socket.as_deref())?;
        let channel = connect::channel(&socket, self.deadlines.connect).await?;
        Ok(Client {
            channel,
            deadlines: self.deadlines,
            socket,
        })
    }
}

/// A connection to the agent. Clones share it; after a break the next call connects again.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    deadlines: Deadlines,
    socket: PathBuf,
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident: $service:ident, $request:ident => $answer:ident, $deadline:ident;)*) => {
        /// The calls. Each gives [`Error`] when the agent cannot be reached, does not answer by the
        /// deadline, or refuses.
        #[allow(clippy::missing_errors_doc)] // said once for all, above
        impl Client {
            $(
                $(#[$doc])*
                pub async fn $name(&self, request: v1::$request) -> Result<v1::$answer, Error> {
                    let mut service = self.$service();
                    bounded(self.deadlines.$deadline, service.$name(request)).await
                }
            )*
        }
    };
}

calls! {
    /// `AccountService.CreateAccount`
    create_account: accounts, CreateAccountRequest => CreateAccountResponse, network;
    /// `AccountService.RestoreAccount`
    restore_account: accounts, RestoreAccountRequest => RestoreAccountResponse, network;
    /// `AccountService.GetAccount`
    get_account: accounts, GetAccountRequest => GetAccountResponse, call;
    /// `AccountService.GetRecoveryPhrase`
    get_recovery_phrase: accounts, GetRecoveryPhraseRequest => GetRecoveryPhraseResponse, call;
    /// `AccountService.UpdateAccount`
    update_account: accounts, UpdateAccountRequest => UpdateAccountResponse, call;
    /// `AccountService.DeleteAccount`
    delete_account: accounts, DeleteAccountRequest => DeleteAccountResponse, network;
    /// `AccountService.Lock`; see also [`Client::lock_and_wait`].
    lock: accounts, LockRequest => LockResponse, network;
    /// `AccountService.Unlock`
    unlock: accounts, UnlockRequest => UnlockResponse, network;
    /// `AccountService.GetVault`
    get_vault: accounts, GetVaultRequest => GetVaultResponse, network;
    /// `AccountService.MoveVault`
    move_vault: accounts, MoveVaultRequest => MoveVaultResponse, network;
    /// `ConversationService.ListConversations`
    list_conversations: conversations, ListConversationsRequest => ListConversationsResponse, call;
    /// `ConversationService.GetConversation`
    get_conversation: conversations, GetConversationRequest => GetConversationResponse, call;
    /// `ConversationService.MarkConversationRead`
    mark_conversation_read: conversations, MarkConversationReadRequest => MarkConversationReadResponse, call;
    /// `ConversationService.MarkConversationUnread`
    mark_conversation_unread: conversations, MarkConversationUnreadRequest => MarkConversationUnreadResponse, call;
    /// `ConversationService.AcceptConversation`
    accept_conversation: conversations, AcceptConversationRequest => AcceptConversationResponse, call;
    /// `ConversationService.DeclineConversation`
    decline_conversation: conversations, DeclineConversationRequest => DeclineConversationResponse, call;
    /// `ConversationService.SetConversationBlocked`
    set_conversation_blocked: conversations, SetConversationBlockedRequest => SetConversationBlockedResponse, call;
    /// `ConversationService.UpdateConversation`
    update_conversation: conversations, UpdateConversationRequest => UpdateConversationResponse, call;
    /// `ConversationService.ClearConversation`
    clear_conversation: conversations, ClearConversationRequest => ClearConversationResponse, call;
    /// `ConversationService.SetTyping`
    set_typing: conversations, SetTypingRequest => SetTypingResponse, call;
    /// `ConversationService.SetDisappearing`
    set_disappearing: conversations, SetDisappearingRequest => SetDisappearingResponse, call;
    /// `MessageService.SendMessage`; see also [`Client::send_and_wait`].
    send_message: messages, SendMessageRequest => SendMessageResponse, call;
    /// `MessageService.ListMessages`
    list_messages: messages, ListMessagesRequest => ListMessagesResponse, call;
    /// `MessageService.GetMessage`
    get_message: messages, GetMessageRequest => GetMessageResponse, call;
    /// `MessageService.SearchMessages`
    search_messages: messages, SearchMessagesRequest => SearchMessagesResponse, call;
    /// `MessageService.ExplainMessage`
    explain_message: messages, ExplainMessageRequest => ExplainMessageResponse, call;
    /// `MessageService.DeleteMessage`
    delete_message: messages, DeleteMessageRequest => DeleteMessageResponse, call;
    /// `MessageService.SetReaction`
    set_reaction: messages, SetReactionRequest => SetReactionResponse, call;
    /// `MessageService.RetryMessage`
    retry_message: messages, RetryMessageRequest => RetryMessageResponse, call;
    /// `MessageService.CancelMessage`
    cancel_message: messages, CancelMessageRequest => CancelMessageResponse, call;
    /// `MessageService.ReportMediaSaved`
    report_media_saved: messages, ReportMediaSavedRequest => ReportMediaSavedResponse, call;
    /// `CallService.SendCallSignal`
    send_call_signal: calls, SendCallSignalRequest => SendCallSignalResponse, network;
    /// `EventService.Acknowledge`; for `Subscribe` see [`Client::events`].
    acknowledge: event_log, AcknowledgeRequest => AcknowledgeResponse, call;
    /// `NetworkService.GetNetworkStatus`
    get_network_status: network, GetNetworkStatusRequest => GetNetworkStatusResponse, call;
    /// `NetworkService.ListPaths`
    list_paths: network, ListPathsRequest => ListPathsResponse, call;
    /// `NetworkService.Sync`
    sync: network, SyncRequest => SyncResponse, network;
    /// `FocusService.HoldFocus`
    hold_focus: focus, HoldFocusRequest => HoldFocusResponse, call;
    /// `FocusService.ReleaseFocus`
    release_focus: focus, ReleaseFocusRequest => ReleaseFocusResponse, call;
    /// `SettingsService.GetSettings`
    get_settings: settings, GetSettingsRequest => GetSettingsResponse, call;
    /// `SettingsService.UpdateSettings`
    update_settings: settings, UpdateSettingsRequest => UpdateSettingsResponse, call;
    /// `DaemonService.GetHealth`
    get_health: daemon, GetHealthRequest => GetHealthResponse, call;
    /// `DaemonService.GetMetrics`
    get_metrics: daemon, GetMetricsRequest => GetMetricsResponse, call;
    /// `DaemonService.GetInfo`
    get_info: daemon, GetInfoRequest => GetInfoResponse, call;
    /// `DaemonService.Shutdown`
    shutdown: daemon, ShutdownRequest => ShutdownResponse, call;
}

macro_rules! services {
    ($($name:ident: $client:ident;)*) => {
        /// The generated clients.
        impl Client {
            $(
                /// The generated client of this service.
                #[must_use]
                pub fn $name(&self) -> $client<Guarded> {
                    let guard = DeadlineHeader(self.deadlines);
                    $client::new(InterceptedService::new(self.channel.clone(), guard))
                        .max_decoding_message_size(MAX_ANSWER_BYTES)
                }
            )*
        }
    };
}

services! {
    accounts: AccountServiceClient;
    conversations: ConversationServiceClient;
    messages: MessageServiceClient;
    calls: CallServiceClient;
    event_log: EventServiceClient;
    network: NetworkServiceClient;
    settings: SettingsServiceClient;
    focus: FocusServiceClient;
    daemon: DaemonServiceClient;
}

impl Client {
    /// Connects to the agent at its usual place.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which also says what to do about it.
    pub async fn connect() -> Result<Self, ConnectError> {
        Self::builder().connect().await
    }

    /// Connects otherwise than by default.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Locks the account and waits until the agent is back in its new process image.
    ///
    /// # Errors
    ///
    /// As every call.
    pub async fn lock_and_wait(&self) -> Result<(), Error> {
        let before = self.get_info(v1::GetInfoRequest {}).await?;
        self.lock(v1::LockRequest::default()).await?;
        if before.state() != v1::DaemonState::Ready {
            return Ok(());
        }
        let end = Instant::now() + self.deadlines.call;
        loop {
            match self.get_info(v1::GetInfoRequest {}).await {
                Ok(info) if info.start_time != before.start_time => return Ok(()),
                Ok(_) | Err(Error::ConnectionLost { .. } | Error::Connect(_)) => {}
                Err(error) => return Err(error),
            }
            if Instant::now() >= end {
                let after = self.deadlines.call;
                return Err(Error::Deadline { after });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The socket in use.
    #[must_use]
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// The deadlines in use.
    #[must_use]
    pub fn deadlines(&self) -> Deadlines {
        self.deadlines
    }
}

async fn bounded<T>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(deadline + SLACK, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Error::from_status(&status, deadline)),
        Err(_) => Err(Error::Deadline { after: deadline }),
    }
}
