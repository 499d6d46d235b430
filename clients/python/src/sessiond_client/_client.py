"""One connection to the agent and the calls over it.

Every call ends by its deadline, whatever the agent does. After a break the next call connects again.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar, cast

import grpc
from google.protobuf.message import Message as Proto
from sessiond.v1 import (
    account_pb2,
    call_pb2,
    conversation_pb2,
    daemon_pb2,
    event_pb2,
    message_pb2,
    network_pb2,
)

from ._errors import MessageRemoved, NoAgent, SendFailed, StillSending, from_rpc_error
from ._events import Backoff, Snapshot, Subscription
from ._socket import check_listener, socket_path

_OPTIONS: list[tuple[str, str | int]] = [
    # The C core would send the socket's path, which the agent's HTTP/2 library refuses before any call is seen.
    ("grpc.default_authority", "localhost"),
    # A page holds up to 200 messages of 10,000 code points, more than gRPC's usual 4 MiB.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # The agent is on this machine: look for it again soon after a break.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Pings on an open stream find an agent that hangs.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 30_000),
    # Two clients of one process do not share a connection.
    ("grpc.use_local_subchannel_pool", 1),
]

_PAGE = 200

# Calls that wait for the network or for a vault.
_SLOW = {
    "NetworkService/Sync",
    "CallService/SendCallSignal",
    "AccountService/CreateAccount",
    "AccountService/RestoreAccount",
    "AccountService/DeleteAccount",
    "AccountService/Lock",
    "AccountService/Unlock",
    "AccountService/GetVault",
    "AccountService/MoveVault",
}

Answer = TypeVar("Answer", bound=Proto)


@dataclass(frozen=True)
class Deadlines:
    """How long things may take, in seconds."""

    connect: float = 5.0
    """Connecting."""
    call: float = 20.0
    """A call, and the start of a stream. The agent answers from its own disk."""
    network: float = 90.0
    """A call that waits for the network (``sync``, ``send_call_signal``) or for a vault, which may ask the user for a
    password (``create_account``, ``restore_account``)."""


def new_client_token() -> str:
    """A new client token, 128 random bits. Keep it and repeat the call with it when the answer was lost: the agent then
    gives the first outcome and does nothing twice."""
    return secrets.token_hex(16)


class Client:
    """A connection to the agent. Made by ``await Client.connect()``; close it, or use it in ``async with``.

    The methods raise SessiondError; ``account`` everywhere is an account ID, empty for the only account.
    """

    def __init__(self, channel: grpc.aio.Channel, socket: Path, deadlines: Deadlines) -> None:
        self._channel = channel
        self.socket = socket
        """The socket in use."""
        self.deadlines = deadlines
        """The deadlines in use."""

    @classmethod
    async def connect(
        cls, socket: str | os.PathLike[str] | None = None, *, deadlines: Deadlines = Deadlines()
    ) -> Client:
        """Connects now: to ``socket``, or to the agent at its usual place. Raises NoAgent."""
        path = socket_path(socket)
        check_listener(path, deadlines.connect)
        channel = grpc.aio.insecure_channel(f"unix:{path.absolute()}", options=_OPTIONS)
        try:
            await asyncio.wait_for(channel.channel_ready(), deadlines.connect)
        except asyncio.TimeoutError:
            await channel.close(None)
            raise NoAgent(
                "SOCKET_NO_ANSWER", f"whoever listens at {path} does not answer; end the agent and start it again"
            ) from None
        except BaseException:
            await channel.close(None)
            raise
        return cls(channel, path, deadlines)

    async def close(self) -> None:
        """Ends all streams and the connection."""
        await self._channel.close(None)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(
        self, method: str, request: Proto, answer: type[Answer], *, timeout: float | None = None
    ) -> Answer:
        """Any call that is not a stream, by its name in the schema: ``await client.call("MessageService/GetMessage",
        message_pb2.GetMessageRequest(message_id=id), message_pb2.GetMessageResponse)``. Without ``timeout`` it ends by the
        deadline of its kind."""
        usual = self.deadlines.network if method in _SLOW else self.deadlines.call
        call = self._channel.unary_unary(
            f"/sessiond.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            return cast(Answer, await call(request, timeout=usual if timeout is None else timeout))
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    def open_events(
        self, request: event_pb2.SubscribeRequest
    ) -> grpc.aio.UnaryStreamCall[event_pb2.SubscribeRequest, event_pb2.SubscribeResponse]:
        """The bare stream of ``EventService/Subscribe``. ``subscribe`` is what programs want."""
        call = self._channel.unary_stream(
            "/sessiond.v1.EventService/Subscribe",
            request_serializer=event_pb2.SubscribeRequest.SerializeToString,
            response_deserializer=event_pb2.SubscribeResponse.FromString,
        )
        return call(request)

    # The agent

    async def info(self) -> daemon_pb2.GetInfoResponse:
        """What runs here, and in which state it is."""
        return await self.call("DaemonService/GetInfo", daemon_pb2.GetInfoRequest(), daemon_pb2.GetInfoResponse)

    async def shutdown(self) -> None:
        """Ends the agent after what it is doing is committed."""
        await self.call("DaemonService/Shutdown", daemon_pb2.ShutdownRequest(), daemon_pb2.ShutdownResponse)

    async def network_status(self) -> network_pb2.GetNetworkStatusResponse:
        """Connection, clock, last poll, what waits."""
        return await self.call(
            "NetworkService/GetNetworkStatus",
            network_pb2.GetNetworkStatusRequest(),
            network_pb2.GetNetworkStatusResponse,
        )

    async def sync(self, *, account: str = "") -> network_pb2.SyncResponse:
        """Polls and pushes now; answers when the poll is done."""
        return await self.call(
            "NetworkService/Sync",
            network_pb2.SyncRequest(account=account),
            network_pb2.SyncResponse,
        )

    # The account

    async def account(self, *, account: str = "") -> account_pb2.Account:
        """The account. Refused with NO_ACCOUNT before one was made or restored."""
        request = account_pb2.GetAccountRequest(account=account)
        return (await self.call("AccountService/GetAccount", request, account_pb2.GetAccountResponse)).account

    async def create_account(self, display_name: str = "", *, token: str | None = None) -> account_pb2.Account:
        """Makes a new account."""
        request = account_pb2.CreateAccountRequest(
            display_name=display_name, client_token=token or new_client_token()
        )
        return (await self.call("AccountService/CreateAccount", request, account_pb2.CreateAccountResponse)).account

    async def restore_account(
        self, recovery_phrase: str, display_name: str = "", *, token: str | None = None
    ) -> account_pb2.Account:
        """Brings an account back: 13 words in the Session form, or 12 in the BIP-39 form."""
        request = account_pb2.RestoreAccountRequest(
            recovery_phrase=recovery_phrase, display_name=display_name, client_token=token or new_client_token()
        )
        return (await self.call("AccountService/RestoreAccount", request, account_pb2.RestoreAccountResponse)).account

    async def recovery_phrase(self, *, account: str = "") -> account_pb2.GetRecoveryPhraseResponse:
        """The secret from which the account can be restored, in both forms."""
        return await self.call(
            "AccountService/GetRecoveryPhrase",
            account_pb2.GetRecoveryPhraseRequest(account=account),
            account_pb2.GetRecoveryPhraseResponse,
        )

    # Messages

    async def send(
        self,
        recipient: str,
        text: str,
        *,
        token: str | None = None,
        wait: bool = False,
        timeout: float = 60.0,
        account: str = "",
    ) -> message_pb2.Message:
        """Sends a text of 1 to 2,000 code points to an account ID.

        Gives the message once it is committed to the agent's disk, from when on it survives any crash. With ``wait`` once
        it is stored in the recipient's swarm; then raises SendFailed when the agent gave up, and StillSending after
        ``timeout`` seconds. The same ``token`` with the same content sends nothing twice; without one it is random.
        """
        request = message_pb2.SendMessageRequest(
            account=account,
            recipient=recipient,
            text=message_pb2.TextContent(body=text),
            client_token=token or new_client_token(),
        )
        return await self._deliver(request, wait, timeout)

    async def invite(
        self,
        recipient: str,
        url: str,
        name: str,
        *,
        token: str | None = None,
        wait: bool = False,
        timeout: float = 60.0,
        account: str = "",
    ) -> message_pb2.Message:
        """Invites an account ID to a community by its join URL, ``https://host/room?public_key=...``; otherwise as ``send``."""
        request = message_pb2.SendMessageRequest(
            account=account,
            recipient=recipient,
            community_invitation=message_pb2.CommunityInvitationContent(url=url, name=name),
            client_token=token or new_client_token(),
        )
        return await self._deliver(request, wait, timeout)

    async def _deliver(
        self, request: message_pb2.SendMessageRequest, wait: bool, timeout: float
    ) -> message_pb2.Message:
        account = request.account
        accepted = await self.call("MessageService/SendMessage", request, message_pb2.SendMessageResponse)
        if not wait:
            return accepted.message
        try:
            settled = await asyncio.wait_for(self._settled(accepted, account), timeout)
        except asyncio.TimeoutError:
            raise StillSending(accepted.message.id) from None
        if settled.send_state == message_pb2.SEND_STATE_FAILED:
            raise SendFailed(settled.id, settled.failure_reason)
        return settled

    async def _settled(self, accepted: message_pb2.SendMessageResponse, account: str) -> message_pb2.Message:
        message = accepted.message
        if _is_settled(message):
            return message
        async with self.subscribe(after=accepted.cursor, account=account) as updates:
            async for update in updates:
                if isinstance(update, Snapshot):
                    message = await self.message(accepted.message.id, account=account)
                elif update.message_id != accepted.message.id:
                    continue
                elif update.kind == event_pb2.EVENT_KIND_MESSAGE_REMOVED:
                    break
                else:
                    message = update.message
                if _is_settled(message):
                    return message
        raise MessageRemoved(accepted.message.id)

    async def message(self, message_id: str, *, account: str = "") -> message_pb2.Message:
        """One message. Refused with MESSAGE_NOT_FOUND."""
        request = message_pb2.GetMessageRequest(account=account, message_id=message_id)
        return (await self.call("MessageService/GetMessage", request, message_pb2.GetMessageResponse)).message

    async def report_media_saved(self, message_id: str, *, token: str | None = None, account: str = "") -> bool:
        """Says that the user kept a file of a message. Whether its author is told: not of own messages, not before both
        sides accepted each other, not when the user turned it off."""
        request = message_pb2.ReportMediaSavedRequest(
            account=account, message_id=message_id, client_token=token or new_client_token()
        )
        answer = await self.call("MessageService/ReportMediaSaved", request, message_pb2.ReportMediaSavedResponse)
        return answer.told

    async def send_call_signal(
        self, account_id: str, signal: call_pb2.CallSignal, *, account: str = ""
    ) -> call_pb2.SendCallSignalResponse:
        """Tells the other side a step of a call, for a program that has media; answers when their swarm has it."""
        return await self.call(
            "CallService/SendCallSignal",
            call_pb2.SendCallSignalRequest(account=account, account_id=account_id, signal=signal),
            call_pb2.SendCallSignalResponse,
        )

    async def messages(
        self,
        *,
        account_id: str = "",
        conversation_id: str = "",
        limit: int | None = None,
        oldest_first: bool = False,
        anchor_message_id: str = "",
        account: str = "",
    ) -> AsyncIterator[message_pb2.Message]:
        """Messages of a conversation, which is named by the other side's account ID or by its own id; the newest first.
        Starts next to ``anchor_message_id`` if that is given. Pages are fetched as they are needed."""
        order = message_pb2.LIST_ORDER_OLDEST_FIRST if oldest_first else message_pb2.LIST_ORDER_NEWEST_FIRST
        request = message_pb2.ListMessagesRequest(
            account=account, order=order, anchor_message_id=anchor_message_id
        )
        if conversation_id:
            request.conversation_id = conversation_id
        else:
            request.account_id = account_id
        left = limit
        while left is None or left > 0:
            request.page_size = _PAGE if left is None else min(_PAGE, left)
            page = await self.call("MessageService/ListMessages", request, message_pb2.ListMessagesResponse)
            for message in page.messages:
                yield message
            if left is not None:
                left -= len(page.messages)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def conversation(
        self, *, account_id: str = "", conversation_id: str = "", account: str = ""
    ) -> conversation_pb2.Conversation:
        """One conversation. Refused with CONVERSATION_NOT_FOUND."""
        request = conversation_pb2.GetConversationRequest(account=account)
        if conversation_id:
            request.conversation_id = conversation_id
        else:
            request.account_id = account_id
        answer = await self.call(
            "ConversationService/GetConversation", request, conversation_pb2.GetConversationResponse
        )
        return answer.conversation

    async def conversations(self, *, account: str = "") -> list[conversation_pb2.Conversation]:
        """All conversations, the newest activity first."""
        return (await self.snapshot(account=account))[0]

    async def snapshot(self, *, account: str = "") -> tuple[list[conversation_pb2.Conversation], str]:
        """All conversations, and the place in the event log at which the first page of them was read: a subscription after
        it misses nothing. What happened between the pages comes again as events, which is harmless."""
        request = conversation_pb2.ListConversationsRequest(account=account, page_size=_PAGE)
        found: list[conversation_pb2.Conversation] = []
        cursor = ""
        while True:
            page = await self.call(
                "ConversationService/ListConversations", request, conversation_pb2.ListConversationsResponse
            )
            found.extend(page.conversations)
            cursor = cursor or page.cursor
            if not page.next_page_token:
                return found, cursor
            request.page_token = page.next_page_token

    # Events

    def subscribe(
        self,
        name: str = "",
        *,
        after: str = "",
        start: event_pb2.StreamStart = event_pb2.STREAM_START_UNSPECIFIED,
        replay_only: bool = False,
        acknowledge: bool = True,
        account: str = "",
        backoff: Backoff = Backoff(),
    ) -> Subscription:
        """The event log as an asynchronous iterator that survives restarts of the agent; see Subscription.

        ``name`` (1 to 64 of a-z, A-Z, 0-9, ``._-``) makes the agent remember the place, so that nothing is missed however
        long the program is away; a new name starts at the end of the log. ``after`` is a cursor to go on after instead.
        ``replay_only`` ends with the log instead of waiting for more. With ``acknowledge=False`` the place moves only by
        ``Subscription.acknowledge``.
        """
        request = event_pb2.SubscribeRequest(
            account=account, subscriber=name, after_cursor=after, start=start, replay_only=replay_only
        )
        return Subscription(self, request, acknowledge=acknowledge, backoff=backoff)

    async def acknowledge(self, name: str, cursor: str, *, account: str = "") -> None:
        """Remembers how far a named subscriber has come."""
        request = event_pb2.AcknowledgeRequest(account=account, subscriber=name, cursor=cursor)
        await self.call("EventService/Acknowledge", request, event_pb2.AcknowledgeResponse)


def _is_settled(message: message_pb2.Message) -> bool:
    return message.send_state in (message_pb2.SEND_STATE_SENT, message_pb2.SEND_STATE_FAILED)
