"""Connects asyncio programs to sessiond, the agent that is your Session account.

    import asyncio
    from sessiond_client import Client

    async def main() -> None:
        async with await Client.connect() as client:
            message = await client.send("05…", "Hello", wait=True)
            async with client.subscribe("my-bot") as updates:
                async for update in updates:
                    print(update)

    asyncio.run(main())

Messages of the API are those of package ``sessiond.v1`` (``from sessiond.v1 import message_pb2``); the schema in the
repository's ``proto/sessiond/v1`` documents every call, field and error reason.
"""

from ._client import Client, Deadlines, new_client_token
from ._errors import (
    ConnectionLost,
    MessageRemoved,
    NoAgent,
    NoAnswer,
    Refused,
    SendFailed,
    SessiondError,
    StillSending,
    SubscriberReplaced,
)
from ._events import Backoff, Snapshot, Subscription, Update
from ._socket import socket_path

__all__ = [
    "Backoff",
    "Client",
    "ConnectionLost",
    "Deadlines",
    "MessageRemoved",
    "NoAgent",
    "NoAnswer",
    "Refused",
    "SendFailed",
    "SessiondError",
    "Snapshot",
    "StillSending",
    "SubscriberReplaced",
    "Subscription",
    "Update",
    "new_client_token",
    "socket_path",
]
