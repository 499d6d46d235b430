"""A bot that answers every text with the same text: ``python -m sessiond_client.examples.echo``.

Whatever happens - the bot or the agent is killed, restarted, locked - every text is answered once: the subscription's name
makes the agent remember how far the bot has come, and the client token made of the message's id makes a repeated answer
harmless.
"""

import argparse
import asyncio
import signal

from sessiond.v1 import event_pb2, message_pb2

from sessiond_client import Client, SessiondError, Snapshot

# What one message may hold; a received one may hold more.
_LONGEST = 2000


async def answer(client: Client, message: message_pb2.Message) -> None:
    """Sends a received text back to its author."""
    if message.direction != message_pb2.MESSAGE_DIRECTION_INCOMING or message.WhichOneof("content") != "text":
        return
    while True:
        try:
            await client.send(message.author, message.text.body[:_LONGEST], token=f"echo-{message.id}")
            return
        except SessiondError as error:
            if not error.transient and error.reason != "LOCKED":
                # An empty text, for example: nothing that waiting would change.
                print(f"not answered: {error}", flush=True)
                return
            # The agent is away or locked. Whether it took the message is unknown: the same token makes that no matter.
            await asyncio.sleep(1)


async def echo(client: Client, name: str) -> None:
    """Answers until it is cancelled."""
    async with client.subscribe(name) as updates:
        print(f"ready: write to {(await client.account()).account_id}", flush=True)
        async for update in updates:
            if isinstance(update, Snapshot):
                # Away for longer than the log goes back: look at what nobody has read.
                for conversation in update.conversations:
                    unread = client.messages(conversation_id=conversation.id, limit=conversation.unread_count)
                    async for message in unread:
                        await answer(client, message)
            elif update.kind == event_pb2.EVENT_KIND_MESSAGE_ADDED:
                await answer(client, update.message)


async def main() -> None:
    """Runs until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Answers every text with the same text.")
    parser.add_argument("--socket", help="socket of the agent")
    parser.add_argument("--name", default="echo", help="name of the subscription")
    arguments = parser.parse_args()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with await Client.connect(arguments.socket) as client:
        try:
            await echo(client, arguments.name)
        except asyncio.CancelledError:
            print("ended", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
