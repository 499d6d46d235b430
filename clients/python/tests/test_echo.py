"""The example: a program of its own that answers every text once, though it and its agent are killed."""

import asyncio
import subprocess
import sys

from agents import LONG, environment
from conftest import Person
from sessiond.v1 import message_pb2


def start(bob: Person) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "sessiond_client.examples.echo", "--socket", str(bob.agent.socket)]
    bot = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment())
    assert bot.stdout is not None
    assert bot.stdout.readline() == f"ready: write to {bob.id}\n"
    return bot


async def answers(alice: Person, bob: Person) -> list[str]:
    messages = alice.client.messages(account_id=bob.id, oldest_first=True)
    incoming = message_pb2.MESSAGE_DIRECTION_INCOMING
    return [m.text.body async for m in messages if m.direction == incoming and m.HasField("text")]


async def until_answered(alice: Person, bob: Person, texts: list[str]) -> None:
    async def wait() -> None:
        while len(await answers(alice, bob)) < len(texts):
            await asyncio.sleep(0.1)

    await asyncio.wait_for(wait(), LONG)


async def test_every_text_is_answered_once(alice: Person, bob: Person) -> None:
    bot = await asyncio.to_thread(start, bob)
    await alice.client.send(bob.id, "one")
    await until_answered(alice, bob, ["one"])

    bot.kill()
    bot.wait()
    await alice.client.send(bob.id, "two", wait=True, timeout=LONG)
    bob.agent.kill()
    await bob.agent.up()
    bot = await asyncio.to_thread(start, bob)
    bob.agent.kill()
    await alice.client.send(bob.id, "three")
    await bob.agent.up()
    await until_answered(alice, bob, ["one", "two", "three"])

    bot.terminate()
    out, _ = await asyncio.to_thread(bot.communicate)
    assert out == "ended\n"
    assert bot.returncode == 0
    # Whatever would come twice has come by now.
    await alice.client.sync()
    assert sorted(await answers(alice, bob)) == ["one", "three", "two"]
