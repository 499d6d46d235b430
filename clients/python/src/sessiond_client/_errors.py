"""What can go wrong between a program and the agent, as exceptions.

Every one has a canonical ``code`` and a stable UPPER_SNAKE ``reason``: the agent's from ``google.rpc.ErrorInfo`` (domain
``sessiond``), or one of this library's own. Decide by these, never by the text.
"""

from collections.abc import Iterable
from typing import cast

import grpc
from google.rpc import error_details_pb2, status_pb2

_DOMAIN = "sessiond"


class SessiondError(Exception):
    """Why a call did not give what was asked for."""

    code: grpc.StatusCode
    """Canonical code."""
    reason: str
    """Stable UPPER_SNAKE name; empty when the agent gave none."""
    transient: bool = False
    """Whether the same call may succeed a moment later without anybody doing anything."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.args[0]} [{self.reason or self.code.name}]"


class NoAgent(SessiondError):
    """There is no agent to talk to, or it is not ours. NO_RUNTIME_DIR, SOCKET_PATH_TOO_LONG, NO_SOCKET, NOT_LISTENING,
    SOCKET_PERMISSION, SOCKET_NOT_OURS, SOCKET_NO_ANSWER or SOCKET_ERROR."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(grpc.StatusCode.UNAVAILABLE, reason, message)
        self.transient = reason in ("NO_SOCKET", "NOT_LISTENING", "SOCKET_NO_ANSWER")


class ConnectionLost(SessiondError):
    """The connection broke during the call: it is unknown whether the agent acted. A call with a client token can be
    repeated with the same token. CONNECTION_LOST."""

    transient = True

    def __init__(self, message: str) -> None:
        super().__init__(grpc.StatusCode.UNAVAILABLE, "CONNECTION_LOST", message)


class NoAnswer(SessiondError):
    """The agent did not answer by the deadline: it is unknown whether it acted. NO_ANSWER."""

    transient = True

    def __init__(self, message: str = "the agent did not answer in time") -> None:
        super().__init__(grpc.StatusCode.DEADLINE_EXCEEDED, "NO_ANSWER", message)


class Refused(SessiondError):
    """The agent refused or failed, with the code and reason that the schema lists for the call."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str) -> None:
        super().__init__(code, reason, message)
        self.transient = code is grpc.StatusCode.UNAVAILABLE


class SubscriberReplaced(Refused):
    """Another stream was opened under this subscriber's name. SUBSCRIBER_REPLACED."""


class StillSending(SessiondError):
    """A message is accepted, but neither stored nor given up by the end of the wait; the agent goes on trying.
    STILL_SENDING."""

    def __init__(self, message_id: str) -> None:
        super().__init__(
            grpc.StatusCode.DEADLINE_EXCEEDED, "STILL_SENDING", f"message {message_id} is still being sent"
        )
        self.message_id = message_id


class SendFailed(SessiondError):
    """A message was given up; ``reason`` is its failure reason."""

    def __init__(self, message_id: str, reason: str) -> None:
        super().__init__(grpc.StatusCode.ABORTED, reason, f"message {message_id} was given up")
        self.message_id = message_id


class MessageRemoved(SessiondError):
    """A message that was waited for was removed meanwhile. MESSAGE_REMOVED."""

    def __init__(self, message_id: str) -> None:
        super().__init__(grpc.StatusCode.NOT_FOUND, "MESSAGE_REMOVED", f"message {message_id} was removed")
        self.message_id = message_id


def from_rpc_error(error: grpc.aio.AioRpcError) -> SessiondError:
    """The exception for what a call ended with."""
    code, text = error.code(), error.details() or ""
    reason = _reason(error)
    if not reason:
        # Without the agent's own reason the status was made by the transport, on either side.
        if code is grpc.StatusCode.UNAVAILABLE:
            return ConnectionLost(f"the connection to the agent broke: {text}")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED or (
            code is grpc.StatusCode.CANCELLED and text == "Timeout expired"
        ):
            return NoAnswer()
        if code in (grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL) and "RST_STREAM" in text:
            return ConnectionLost(f"the connection to the agent broke: {text}")
    if reason == "SUBSCRIBER_REPLACED":
        return SubscriberReplaced(code, reason, text)
    return Refused(code, reason, text)


def _reason(error: grpc.aio.AioRpcError) -> str:
    trailing = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    for key, value in trailing:
        if key != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        info = error_details_pb2.ErrorInfo()
        for detail in status_pb2.Status.FromString(value).details:
            if detail.Unpack(info) and info.domain == _DOMAIN:
                return str(info.reason)
    return ""
