"""The event log as an asynchronous iterator that survives broken connections, restarts and a locked agent.

The place of the last event that was handed out is kept; after a break the stream goes on strictly after it. A named
subscriber's event is acknowledged when the next one is asked for, so that a program that dies in the middle of one gets
it again. When the agent no longer has the place (CURSOR_EXPIRED) or has another log (LOG_REPLACED), a Snapshot comes
instead of what was missed, and the stream goes on after it. While the agent is LOCKED the stream waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import grpc
from sessiond.v1 import conversation_pb2, event_pb2

from ._errors import ConnectionLost, NoAnswer, SessiondError, from_rpc_error

if TYPE_CHECKING:
    from ._client import Client

    _Call = grpc.aio.UnaryStreamCall[event_pb2.SubscribeRequest, event_pb2.SubscribeResponse]


@dataclass(frozen=True)
class Backoff:
    """Pauses in seconds between attempts to connect again, doubling from ``first`` to ``longest``. There is no last
    attempt: a program waits for its agent as long as it runs."""

    first: float = 0.1
    longest: float = 5.0

    def pause(self, attempt: int) -> float:
        """Before attempt number ``attempt``, counted from 0."""
        return min(self.first * 2.0 ** min(attempt, 16), self.longest)


@dataclass(frozen=True)
class Snapshot:
    """Events were missed for good. How things stand instead: read what you need of the conversations with
    ``Client.messages``; everything after that comes as events, some of it perhaps twice, which is harmless."""

    reason: str
    """CURSOR_EXPIRED or LOG_REPLACED."""
    conversations: list[conversation_pb2.Conversation]
    """All of them."""
    cursor: str
    """Place in the log from which the stream goes on."""


Update = event_pb2.Event | Snapshot
"""What a subscription gives."""


class Subscription:
    """Updates from the agent; see the module's head. Made by ``Client.subscribe``.

    ``async with`` waits until the stream stands: what happens from then on is not missed. The very first attempt is not
    repeated, unless the agent is locked. Ends with SubscriberReplaced when another program subscribes under its name, and
    with every other error that trying again cannot mend. Cancelling a wait for the next update loses nothing.
    """

    def __init__(
        self, client: Client, request: event_pb2.SubscribeRequest, *, acknowledge: bool, backoff: Backoff
    ) -> None:
        self._client = client
        self._request = request
        self._acknowledges = acknowledge and bool(request.subscriber)
        self._backoff = backoff
        self._attempt = 0
        self._stood_before = False
        self._call: _Call | None = None
        # Not handed out yet.
        self._missed: Snapshot | None = None
        # Handed out, not yet acknowledged.
        self._pending = ""
        self._ended = False

    @property
    def cursor(self) -> str:
        """Place of the last update handed out, or where the stream started; empty before it stands."""
        return self._request.after_cursor

    async def acknowledge(self) -> None:
        """Tells the agent that everything handed out so far was dealt with."""
        self._pending = self.cursor
        await self._settle()

    async def close(self) -> None:
        """Ends the stream. What was handed out last stays unacknowledged and comes again next time."""
        self._ended = True
        self._drop()

    async def __aenter__(self) -> Subscription:
        await self._stand()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Update:
        if self._pending:
            await self._try_settle()
        while not self._ended:
            call = await self._stand()
            if self._missed is not None:
                missed, self._missed = self._missed, None
                self._reached(missed.cursor)
                return missed
            try:
                event = await self._next(call)
            except SessiondError as error:
                await self._mend(error)
                continue
            if event is not None:
                return event
        raise StopAsyncIteration

    async def _next(self, call: _Call) -> event_pb2.Event | None:
        item = await self._read(call)
        if item is None:
            self._drop()
            if not self._request.replay_only:
                raise ConnectionLost("the agent ended the stream")
            self._ended = True
            return None
        if item.WhichOneof("item") != "event":
            return None  # an arm of a newer schema
        # An agent that answers and falls over at once must not be asked ten times a second.
        self._attempt = 0
        if not item.event.transient and item.event.cursor:
            self._reached(item.event.cursor)
        return item.event

    async def _stand(self) -> _Call:
        """Makes sure that a stream stands; what can no longer be replayed becomes a snapshot."""
        while self._call is None:
            try:
                try:
                    self._call = await self._open()
                except SessiondError as error:
                    if error.reason not in ("CURSOR_EXPIRED", "LOG_REPLACED"):
                        raise
                    conversations, cursor = await self._client.snapshot(account=self._request.account)
                    self._missed = Snapshot(error.reason, conversations, cursor)
                    self._request.after_cursor = cursor
                    self._stood_before = True
            except SessiondError as error:
                await self._mend(error)
        return self._call

    async def _open(self) -> _Call:
        call = self._client.open_events(self._request)
        try:
            first = await asyncio.wait_for(self._read(call), self._client.deadlines.call)
        except asyncio.TimeoutError:
            raise NoAnswer() from None
        if first is None or first.WhichOneof("item") != "ready":
            call.cancel()
            raise ConnectionLost("the agent ended the stream before it stood")
        if not self._stood_before:
            self._stood_before = True
            # A new name is remembered from here on, even if nothing happens before the program ends.
            self._reached(first.ready.cursor)
            await self._try_settle()
        return call

    async def _read(self, call: _Call) -> event_pb2.SubscribeResponse | None:
        try:
            item = await call.read()
        except grpc.aio.AioRpcError as error:
            self._drop()
            raise from_rpc_error(error) from None
        except BaseException:
            # A wait that was cancelled has cancelled the stream, too: the next one goes on after what was handed out.
            self._drop()
            call.cancel()
            raise
        return item if isinstance(item, event_pb2.SubscribeResponse) else None  # EOF

    async def _mend(self, error: SessiondError) -> None:
        """Waits before the next attempt, or raises what cannot be mended."""
        self._drop()
        locked = error.reason == "LOCKED"
        if not locked and not (error.transient and self._stood_before):
            self._ended = True
            raise error
        pause = self._backoff.pause(self._attempt)
        self._attempt += 1
        await asyncio.sleep(pause)

    def _reached(self, cursor: str) -> None:
        self._request.after_cursor = cursor
        if self._acknowledges:
            self._pending = cursor

    async def _try_settle(self) -> None:
        """Acknowledges; an agent that is away or locked will be told when it is back."""
        try:
            await self._settle()
        except SessiondError as error:
            if not error.transient and error.reason != "LOCKED":
                raise

    async def _settle(self) -> None:
        if self._pending and self._request.subscriber:
            await self._client.acknowledge(self._request.subscriber, self._pending, account=self._request.account)
        self._pending = ""

    def _drop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
