//! A stand-in for the agent: all services over a real Unix socket, state in memory.
//!
//! It serves what its test put into [`World`] and can be killed like a process: its runtime goes
//! away with every open connection. The real agent is tested end to end elsewhere.
#![allow(dead_code)] // shared by several test programs, none of which uses everything

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use sessiond_client::v1::{self, *};
use tokio::{
    net::UnixListener,
    runtime::Runtime,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::codegen::http;
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::util::MapRequestLayer;

pub const ME: &str = "05aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const BOB: &str = "05bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub const PHRASE: &str =
    "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike";

/// What the agent has.
#[derive(Default)]
pub struct World {
    pub account: Option<Account>,
    pub locked: bool,
    /// How often it began anew.
    pub begun: i64,
    pub log: String,
    pub oldest: usize,
    pub events: Vec<Event>,
    pub messages: Vec<Message>,
    pub acknowledged: HashMap<String, String>,
    /// State a sent message ends in; left in SENDING otherwise.
    pub outcome: Option<SendState>,
    /// Calls that are never answered.
    pub hang: bool,
    pub subscriptions: usize,
    /// Items that left for any stream.
    pub served: usize,
    /// End every stream with this.
    pub end_streams: Option<(Code, &'static str)>,
    pub shut_down: bool,
    pub settings: Settings,
    /// What is set for the conversation with Bob, beside what it always has.
    pub bob: Conversation,
    /// Conversations beside the one with Bob.
    pub others: Vec<Conversation>,
    /// Steps of calls that were sent.
    pub signals: Vec<CallSignal>,
    pub version: String,
    pub storage: Option<StorageStatus>,
    /// Paths of the calls that came, as /sessiond.v1.DaemonService/GetInfo.
    pub calls: Vec<String>,
}

#[derive(Clone)]
pub struct Fake {
    pub world: Arc<Mutex<World>>,
    changed: watch::Sender<()>,
}

pub fn refusal(code: Code, reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "sessiond", HashMap::new());
    Status::with_error_details(code, message, details)
}

pub fn time(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

impl Fake {
    pub fn new() -> Self {
        let world = World {
            log: "log1".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            storage: Some(StorageStatus {
                check: DatabaseCheck::Sound.into(),
                ..StorageStatus::default()
            }),
            account: Some(Account {
                account_id: ME.into(),
                display_name: "Alice".into(),
                create_time: time(1_700_000_000),
                state: AccountState::Ready.into(),
                warnings: Vec::new(),
            }),
            outcome: Some(SendState::Sent),
            ..World::default()
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            changed: watch::channel(()).0,
        }
    }

    pub fn change<T>(&self, f: impl FnOnce(&mut World) -> T) -> T {
        let result = f(&mut self.world.lock().unwrap());
        self.changed.send_replace(());
        result
    }

    /// Adds an event about a message.
    pub fn log(&self, kind: EventKind, message: &Message) {
        self.change(|w| {
            let cursor = format!("{}:{}", w.log, w.events.len() + 1);
            w.events.push(Event {
                cursor,
                kind: kind.into(),
                create_time: time(1_700_000_000),
                conversation_id: message.conversation_id.clone(),
                message_id: message.id.clone(),
                state: Some(event::State::Message(message.clone())),
                ..Event::default()
            });
        });
    }

    pub fn receive(&self, id: &str, body: &str) {
        let message = Message {
            id: id.into(),
            conversation_id: "c1".into(),
            author: BOB.into(),
            direction: MessageDirection::Incoming.into(),
            send_time: time(1_700_000_000),
            receive_time: time(1_700_000_001),
            send_state: SendState::None.into(),
            sync_state: SendState::None.into(),
            content: Some(message::Content::Text(TextContent {
                body: body.into(),
                ..Default::default()
            })),
            ..Message::default()
        };
        self.change(|w| w.messages.push(message.clone()));
        self.log(EventKind::MessageAdded, &message);
    }

    /// Serves at `path` until the result is dropped, which kills everything at once.
    pub fn serve(&self, path: &Path) -> Serving {
        let _ = fs::remove_file(path);
        let runtime = Runtime::new().unwrap();
        let listener = {
            let _guard = runtime.enter();
            UnixListener::bind(path).unwrap()
        };
        let fake = self.clone();
        let world = Arc::clone(&self.world);
        let record = move |request: http::Request<_>| {
            let path = request.uri().path().to_owned();
            world.lock().unwrap().calls.push(path);
            request
        };
        runtime.spawn(async move {
            Server::builder()
                .layer(MapRequestLayer::new(record))
                .add_service(account_service_server::AccountServiceServer::new(
                    fake.clone(),
                ))
                .add_service(conversation_service_server::ConversationServiceServer::new(
                    fake.clone(),
                ))
                .add_service(message_service_server::MessageServiceServer::new(
                    fake.clone(),
                ))
                .add_service(call_service_server::CallServiceServer::new(fake.clone()))
                .add_service(event_service_server::EventServiceServer::new(fake.clone()))
                .add_service(network_service_server::NetworkServiceServer::new(
                    fake.clone(),
                ))
                .add_service(focus_service_server::FocusServiceServer::new(fake.clone()))
                .add_service(settings_service_server::SettingsServiceServer::new(
                    fake.clone(),
                ))
                .add_service(daemon_service_server::DaemonServiceServer::new(fake))
                .serve_with_incoming(UnixListenerStream::new(listener))
                .await
                .unwrap();
        });
        Serving {
            runtime: Some(runtime),
            path: path.to_owned(),
        }
    }

    fn with_bob(&self) -> Conversation {
        Conversation {
            id: "c1".into(),
            kind: ConversationKind::OneToOne.into(),
            target: Some(conversation::Target::OneToOne(OneToOne {
                account_id: BOB.into(),
            })),
            display_name: "Bob\u{1b}[31m".into(),
            last_message: self.change(|w| w.messages.last().cloned()),
            last_activity_time: time(1_700_000_000),
            unread_count: 2,
            ..self.change(|w| w.bob.clone())
        }
    }

    async fn ready(&self) -> Result<(), Status> {
        if self.world.lock().unwrap().hang {
            std::future::pending::<()>().await;
        }
        let world = self.world.lock().unwrap();
        if world.locked {
            Err(refusal(
                Code::FailedPrecondition,
                "LOCKED",
                "the vault is locked",
            ))
        } else if world.account.is_none() {
            Err(refusal(
                Code::NotFound,
                "NO_ACCOUNT",
                "there is no account yet",
            ))
        } else {
            Ok(())
        }
    }
}

pub struct Serving {
    runtime: Option<Runtime>,
    pub path: PathBuf,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl account_service_server::AccountService for Fake {
    async fn create_account(
        &self,
        r: Request<CreateAccountRequest>,
    ) -> Answer<CreateAccountResponse> {
        assert!(!r.get_ref().client_token.is_empty());
        self.change(|w| {
            if w.account.is_some() {
                return Err(refusal(
                    Code::FailedPrecondition,
                    "ACCOUNT_EXISTS",
                    "there is an account",
                ));
            }
            w.account = Some(Account {
                account_id: ME.into(),
                display_name: r.get_ref().display_name.clone(),
                create_time: time(1_700_000_000),
                state: AccountState::Ready.into(),
                warnings: Vec::new(),
            });
            Ok(Response::new(CreateAccountResponse {
                account: w.account.clone(),
            }))
        })
    }
    async fn restore_account(
        &self,
        r: Request<RestoreAccountRequest>,
    ) -> Answer<RestoreAccountResponse> {
        if r.get_ref().recovery_phrase != PHRASE {
            return Err(refusal(
                Code::InvalidArgument,
                "PHRASE_TOO_SHORT",
                "not enough words",
            ));
        }
        let r = CreateAccountRequest {
            display_name: r.get_ref().display_name.clone(),
            client_token: r.get_ref().client_token.clone(),
        };
        let account = self
            .create_account(Request::new(r))
            .await?
            .into_inner()
            .account;
        Ok(Response::new(RestoreAccountResponse { account }))
    }
    async fn get_account(&self, _: Request<GetAccountRequest>) -> Answer<GetAccountResponse> {
        self.ready().await?;
        Ok(Response::new(GetAccountResponse {
            account: self.change(|w| w.account.clone()),
        }))
    }
    async fn get_recovery_phrase(
        &self,
        _: Request<GetRecoveryPhraseRequest>,
    ) -> Answer<GetRecoveryPhraseResponse> {
        self.ready().await?;
        Ok(Response::new(GetRecoveryPhraseResponse {
            recovery_phrase: PHRASE.into(),
            bip39_phrase: "one two".into(),
        }))
    }
    async fn update_account(
        &self,
        r: Request<UpdateAccountRequest>,
    ) -> Answer<UpdateAccountResponse> {
        self.ready().await?;
        Ok(Response::new(UpdateAccountResponse {
            account: self.change(|w| {
                if let Some(account) = &mut w.account {
                    account.display_name = r.into_inner().display_name;
                }
                w.account.clone()
            }),
        }))
    }
    async fn delete_account(
        &self,
        _: Request<DeleteAccountRequest>,
    ) -> Answer<DeleteAccountResponse> {
        self.ready().await?;
        self.change(|w| w.account = None);
        Ok(Response::new(DeleteAccountResponse {
            vault_emptied: true,
            ..DeleteAccountResponse::default()
        }))
    }
    async fn lock(&self, _: Request<LockRequest>) -> Answer<LockResponse> {
        self.change(|w| {
            w.locked = true;
            w.begun += 1;
        });
        Ok(Response::new(LockResponse {}))
    }
    async fn unlock(&self, _: Request<UnlockRequest>) -> Answer<UnlockResponse> {
        self.change(|w| w.locked = false);
        Ok(Response::new(UnlockResponse {
            account: self.change(|w| w.account.clone()),
        }))
    }
    async fn get_vault(&self, _: Request<GetVaultRequest>) -> Answer<GetVaultResponse> {
        Ok(Response::new(GetVaultResponse {
            vault: "passphrase".into(),
            ..GetVaultResponse::default()
        }))
    }
    async fn move_vault(&self, _: Request<MoveVaultRequest>) -> Answer<MoveVaultResponse> {
        self.ready().await?;
        Ok(Response::new(MoveVaultResponse {}))
    }
}

#[tonic::async_trait]
impl conversation_service_server::ConversationService for Fake {
    async fn mark_conversation_read(
        &self,
        _: Request<MarkConversationReadRequest>,
    ) -> Answer<MarkConversationReadResponse> {
        self.ready().await?;
        Ok(Response::new(MarkConversationReadResponse {
            conversation: Some(self.with_bob()),
            cursor: "log1:0".into(),
        }))
    }
    async fn mark_conversation_unread(
        &self,
        _: Request<MarkConversationUnreadRequest>,
    ) -> Answer<MarkConversationUnreadResponse> {
        self.ready().await?;
        Ok(Response::new(MarkConversationUnreadResponse {
            conversation: Some(self.with_bob()),
            cursor: "log1:0".into(),
        }))
    }
    async fn accept_conversation(
        &self,
        _: Request<AcceptConversationRequest>,
    ) -> Answer<AcceptConversationResponse> {
        self.ready().await?;
        Ok(Response::new(AcceptConversationResponse {
            conversation: Some(self.with_bob()),
            cursor: "log1:0".into(),
        }))
    }
    async fn decline_conversation(
        &self,
        _: Request<DeclineConversationRequest>,
    ) -> Answer<DeclineConversationResponse> {
        self.ready().await?;
        Ok(Response::new(DeclineConversationResponse {
            cursor: "log1:0".into(),
        }))
    }
    async fn set_conversation_blocked(
        &self,
        _: Request<SetConversationBlockedRequest>,
    ) -> Answer<SetConversationBlockedResponse> {
        self.ready().await?;
        Ok(Response::new(SetConversationBlockedResponse {
            conversation: Some(self.with_bob()),
            cursor: "log1:0".into(),
        }))
    }
    async fn update_conversation(
        &self,
        _: Request<UpdateConversationRequest>,
    ) -> Answer<UpdateConversationResponse> {
        self.ready().await?;
        Ok(Response::new(UpdateConversationResponse {
            conversation: Some(self.with_bob()),
            cursor: "log1:0".into(),
        }))
    }
    async fn set_typing(&self, _: Request<SetTypingRequest>) -> Answer<SetTypingResponse> {
        self.ready().await?;
        Ok(Response::new(SetTypingResponse { told: true }))
    }
    async fn set_disappearing(
        &self,
        _: Request<SetDisappearingRequest>,
    ) -> Answer<SetDisappearingResponse> {
        self.ready().await?;
        Ok(Response::new(SetDisappearingResponse {
            conversation: Some(self.with_bob()),
            cursor: "log1:0".into(),
        }))
    }
    async fn clear_conversation(
        &self,
        _: Request<ClearConversationRequest>,
    ) -> Answer<ClearConversationResponse> {
        self.ready().await?;
        Ok(Response::new(ClearConversationResponse {
            cursor: "log1:0".into(),
        }))
    }
    async fn list_conversations(
        &self,
        _: Request<ListConversationsRequest>,
    ) -> Answer<ListConversationsResponse> {
        self.ready().await?;
        Ok(Response::new(ListConversationsResponse {
            conversations: [vec![self.with_bob()], self.change(|w| w.others.clone())].concat(),
            unread_count: 2,
            next_page_token: String::new(),
            cursor: "log1:0".into(),
        }))
    }
    async fn get_conversation(
        &self,
        r: Request<GetConversationRequest>,
    ) -> Answer<GetConversationResponse> {
        self.ready().await?;
        let bob = get_conversation_request::Selector::AccountId(BOB.into());
        if r.into_inner().selector != Some(bob) {
            return Err(refusal(
                Code::NotFound,
                "CONVERSATION_NOT_FOUND",
                "no such conversation",
            ));
        }
        Ok(Response::new(GetConversationResponse {
            conversation: Some(self.with_bob()),
            cursor: "log1:0".into(),
        }))
    }
}

#[tonic::async_trait]
impl message_service_server::MessageService for Fake {
    async fn delete_message(
        &self,
        _: Request<DeleteMessageRequest>,
    ) -> Answer<DeleteMessageResponse> {
        self.ready().await?;
        Ok(Response::new(DeleteMessageResponse {
            cursor: "log1:0".into(),
        }))
    }
    async fn retry_message(&self, _: Request<RetryMessageRequest>) -> Answer<RetryMessageResponse> {
        self.ready().await?;
        Ok(Response::new(RetryMessageResponse {
            message: self.change(|w| w.messages.last().cloned()),
            cursor: "log1:0".into(),
        }))
    }
    async fn cancel_message(
        &self,
        _: Request<CancelMessageRequest>,
    ) -> Answer<CancelMessageResponse> {
        self.ready().await?;
        Ok(Response::new(CancelMessageResponse {
            message: self.change(|w| w.messages.last().cloned()),
            cursor: "log1:0".into(),
        }))
    }
    async fn report_media_saved(
        &self,
        _: Request<ReportMediaSavedRequest>,
    ) -> Answer<ReportMediaSavedResponse> {
        self.ready().await?;
        Ok(Response::new(ReportMediaSavedResponse { told: true }))
    }
    async fn set_reaction(&self, _: Request<SetReactionRequest>) -> Answer<SetReactionResponse> {
        self.ready().await?;
        Ok(Response::new(SetReactionResponse {
            message: self.change(|w| w.messages.last().cloned()),
            cursor: "log1:0".into(),
        }))
    }
    async fn send_message(&self, r: Request<SendMessageRequest>) -> Answer<SendMessageResponse> {
        self.ready().await?;
        let r = r.into_inner();
        assert!(!r.client_token.is_empty());
        let (message, cursor) = self.change(|w| {
            let message = Message {
                id: format!("m{}", w.messages.len() + 1),
                conversation_id: "c1".into(),
                author: ME.into(),
                direction: MessageDirection::Outgoing.into(),
                send_time: time(1_700_000_000),
                receive_time: time(1_700_000_000),
                send_state: SendState::Sending.into(),
                sync_state: SendState::Sending.into(),
                content: r.text.map(message::Content::Text).or(r
                    .community_invitation
                    .map(message::Content::CommunityInvitation)),
                read: true,
                ..Message::default()
            };
            w.messages.push(message.clone());
            (message, format!("{}:{}", w.log, w.events.len()))
        });
        self.log(EventKind::MessageAdded, &message);
        if let Some(state) = self.change(|w| w.outcome) {
            let mut settled = message.clone();
            settled.send_state = state.into();
            if state == SendState::Failed {
                settled.failure_reason = "STORE_REFUSED".into();
            }
            let fake = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                fake.change(|w| {
                    w.messages.retain(|m| m.id != settled.id);
                    w.messages.push(settled.clone());
                });
                fake.log(EventKind::MessageChanged, &settled);
            });
        }
        Ok(Response::new(SendMessageResponse {
            message: Some(message),
            cursor,
        }))
    }
    async fn list_messages(&self, r: Request<ListMessagesRequest>) -> Answer<ListMessagesResponse> {
        self.ready().await?;
        let r = r.into_inner();
        let mut messages = self.change(|w| w.messages.clone());
        messages.reverse();
        if !r.anchor_message_id.is_empty() {
            let Some(at) = messages.iter().position(|m| m.id == r.anchor_message_id) else {
                return Err(refusal(
                    Code::NotFound,
                    "MESSAGE_NOT_FOUND",
                    "no such message",
                ));
            };
            messages.drain(..=at);
        }
        let size = usize::try_from(r.page_size).unwrap();
        let more = messages.len() > size;
        messages.truncate(size);
        Ok(Response::new(ListMessagesResponse {
            messages,
            next_page_token: if more { "more".into() } else { String::new() },
            cursor: "log1:0".into(),
        }))
    }
    async fn get_message(&self, r: Request<GetMessageRequest>) -> Answer<GetMessageResponse> {
        self.ready().await?;
        let id = r.into_inner().message_id;
        let message = self.change(|w| w.messages.iter().find(|m| m.id == id).cloned());
        let missing = || refusal(Code::NotFound, "MESSAGE_NOT_FOUND", "no such message");
        Ok(Response::new(GetMessageResponse {
            message: Some(message.ok_or_else(missing)?),
            cursor: "log1:0".into(),
        }))
    }
    async fn search_messages(
        &self,
        r: Request<SearchMessagesRequest>,
    ) -> Answer<SearchMessagesResponse> {
        self.ready().await?;
        let query = r.into_inner().query;
        let says = |message: &&Message| match &message.content {
            Some(message::Content::Text(text)) => text.body.contains(&query),
            _ => false,
        };
        let found: Vec<Message> =
            self.change(|w| w.messages.iter().filter(says).cloned().collect());
        let results = found.into_iter().map(|message| SearchResult {
            message: Some(message),
            snippet: query.clone(),
            ..SearchResult::default()
        });
        Ok(Response::new(SearchMessagesResponse {
            results: results.collect(),
            ..SearchMessagesResponse::default()
        }))
    }
    async fn explain_message(
        &self,
        r: Request<ExplainMessageRequest>,
    ) -> Answer<ExplainMessageResponse> {
        let message_id = r.into_inner().message_id;
        let request = GetMessageRequest {
            message_id,
            ..GetMessageRequest::default()
        };
        let found = self.get_message(Request::new(request)).await?.into_inner();
        Ok(Response::new(ExplainMessageResponse {
            message: found.message,
            steps: vec![MessageStep {
                kind: MessageStepKind::Received.into(),
                time: time(1_700_000_001),
                count: 1,
                wire_version: 1,
                ..MessageStep::default()
            }],
            cursor: found.cursor,
        }))
    }
}

#[tonic::async_trait]
impl call_service_server::CallService for Fake {
    async fn send_call_signal(
        &self,
        r: Request<SendCallSignalRequest>,
    ) -> Answer<SendCallSignalResponse> {
        self.ready().await?;
        let signal = r.into_inner().signal.unwrap();
        self.change(|w| w.signals.push(signal));
        Ok(Response::new(SendCallSignalResponse {
            send_time: time(1_700_000_000),
            copied: false,
            message_id: "m1".into(),
        }))
    }
}

#[tonic::async_trait]
impl event_service_server::EventService for Fake {
    type SubscribeStream = ReceiverStream<Result<SubscribeResponse, Status>>;

    async fn subscribe(&self, r: Request<SubscribeRequest>) -> Answer<Self::SubscribeStream> {
        self.ready().await?;
        let r = r.into_inner();
        let (log, oldest, head, acknowledged) = self.change(|w| {
            w.subscriptions += 1;
            (
                w.log.clone(),
                w.oldest,
                w.events.len(),
                w.acknowledged.get(&r.subscriber).cloned(),
            )
        });
        let after = if r.after_cursor.is_empty() {
            acknowledged
        } else {
            Some(r.after_cursor)
        };
        let mut at = match after {
            None if r.start == i32::from(StreamStart::Oldest) => oldest,
            None => head,
            Some(cursor) => {
                let (of, number) = cursor.split_once(':').unwrap();
                let number: usize = number.parse().unwrap();
                if of != log {
                    return Err(refusal(Code::OutOfRange, "LOG_REPLACED", "another log"));
                }
                if number < oldest {
                    return Err(refusal(Code::OutOfRange, "CURSOR_EXPIRED", "too old"));
                }
                number
            }
        };
        let (sender, receiver) = mpsc::channel(1);
        let mut changed = self.changed.subscribe();
        let fake = self.clone();
        tokio::spawn(async move {
            let ready = Ready {
                cursor: format!("{log}:{at}"),
                head_cursor: format!("{log}:{head}"),
            };
            let mut item = subscribe_response::Item::Ready(ready);
            loop {
                if sender
                    .send(Ok(SubscribeResponse { item: Some(item) }))
                    .await
                    .is_err()
                {
                    return;
                }
                fake.world.lock().unwrap().served += 1;
                item = loop {
                    changed.borrow_and_update();
                    let (event, end) = fake
                        .world
                        .lock()
                        .map(|w| (w.events.get(at).cloned(), w.end_streams))
                        .unwrap();
                    if let Some((code, reason)) = end {
                        let _ = sender.send(Err(refusal(code, reason, "ended"))).await;
                        return;
                    }
                    if let Some(event) = event {
                        at += 1;
                        break subscribe_response::Item::Event(event);
                    }
                    if r.replay_only || changed.changed().await.is_err() {
                        return;
                    }
                };
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
    async fn acknowledge(&self, r: Request<AcknowledgeRequest>) -> Answer<AcknowledgeResponse> {
        let r = r.into_inner();
        self.change(|w| w.acknowledged.insert(r.subscriber, r.cursor));
        Ok(Response::new(AcknowledgeResponse {}))
    }
}

#[tonic::async_trait]
impl focus_service_server::FocusService for Fake {
    async fn hold_focus(&self, _: Request<HoldFocusRequest>) -> Answer<HoldFocusResponse> {
        Ok(Response::new(HoldFocusResponse { lease: "l1".into() }))
    }
    async fn release_focus(&self, _: Request<ReleaseFocusRequest>) -> Answer<ReleaseFocusResponse> {
        Ok(Response::new(ReleaseFocusResponse {}))
    }
}

#[tonic::async_trait]
impl settings_service_server::SettingsService for Fake {
    async fn get_settings(&self, _: Request<GetSettingsRequest>) -> Answer<GetSettingsResponse> {
        Ok(Response::new(GetSettingsResponse {
            settings: Some(self.change(|w| w.settings)),
        }))
    }
    async fn update_settings(
        &self,
        r: Request<UpdateSettingsRequest>,
    ) -> Answer<UpdateSettingsResponse> {
        let settings = r.into_inner().settings.unwrap();
        self.change(|w| w.settings = settings);
        Ok(Response::new(UpdateSettingsResponse {
            settings: Some(settings),
        }))
    }
}

#[tonic::async_trait]
impl network_service_server::NetworkService for Fake {
    async fn get_network_status(
        &self,
        _: Request<GetNetworkStatusRequest>,
    ) -> Answer<GetNetworkStatusResponse> {
        Ok(Response::new(GetNetworkStatusResponse {
            network: "local".into(),
            state: ConnectionState::Connected.into(),
            node_count: 12,
            path_count: 2,
            clock_offset: Some(prost_types::Duration {
                seconds: 0,
                nanos: -3_000_000,
            }),
            last_poll_time: time(1_700_000_000),
            outbox_count: 1,
            last_error: String::new(),
            uses_proxy: false,
            relaxation: String::new(),
            refusals: Vec::new(),
        }))
    }
    async fn list_paths(&self, _: Request<ListPathsRequest>) -> Answer<ListPathsResponse> {
        let hop = |n: u32| Hop {
            node_key: format!("{n:064x}"),
            ip_address: format!("127.0.{n}.1"),
            port: 22_000 + n,
        };
        Ok(Response::new(ListPathsResponse {
            paths: vec![v1::Path {
                id: "p1".into(),
                hops: vec![hop(1), hop(2), hop(3)],
                create_time: time(1_700_000_000),
                last_success_time: time(1_700_000_000),
                latency: Some(prost_types::Duration {
                    seconds: 0,
                    nanos: 12_300_000,
                }),
                isolation: "agent".into(),
                ..v1::Path::default()
            }],
            dropped_paths: vec![v1::Path {
                id: "p0".into(),
                hops: vec![hop(4), hop(5), hop(6)],
                isolation: "c1a0".into(),
                drop: Some(v1::PathDrop {
                    reason: "TIMEOUT".into(),
                    blamed_hop: Some(1),
                    drop_time: time(1_700_000_001),
                }),
                ..v1::Path::default()
            }],
        }))
    }
    async fn sync(&self, _: Request<SyncRequest>) -> Answer<SyncResponse> {
        Err(refusal(Code::Unavailable, "NO_PATH", "no path works"))
    }
}

#[tonic::async_trait]
impl daemon_service_server::DaemonService for Fake {
    async fn get_info(&self, _: Request<GetInfoRequest>) -> Answer<GetInfoResponse> {
        let (locked, account) = self.change(|w| (w.locked, w.account.is_some()));
        let state = match (locked, account) {
            (true, _) => DaemonState::Locked,
            (_, false) => DaemonState::NoAccount,
            _ => DaemonState::Ready,
        };
        Ok(Response::new(GetInfoResponse {
            version: self.change(|w| w.version.clone()),
            pid: 4711,
            start_time: time(1_700_000_000 + self.change(|w| w.begun)),
            network: "local".into(),
            vault: "passphrase".into(),
            state: state.into(),
            locked_reason: if locked {
                "PASSPHRASE_NEEDED".into()
            } else {
                String::new()
            },
            locked_since: None,
            locked_warning: String::new(),
            storage: self.change(|w| w.storage.clone()),
        }))
    }
    async fn get_health(&self, _: Request<GetHealthRequest>) -> Answer<GetHealthResponse> {
        Ok(Response::new(GetHealthResponse::default()))
    }
    async fn get_metrics(&self, _: Request<GetMetricsRequest>) -> Answer<GetMetricsResponse> {
        let text = "# EOF\n".to_owned();
        Ok(Response::new(GetMetricsResponse { text }))
    }
    async fn shutdown(&self, _: Request<ShutdownRequest>) -> Answer<ShutdownResponse> {
        self.change(|w| w.shut_down = true);
        Ok(Response::new(ShutdownResponse {}))
    }
}
