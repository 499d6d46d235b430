"""Subscriptions: nothing is missed, whatever dies."""

import asyncio
from collections.abc import Callable

import pytest
from agents import LONG
from conftest import Person
from sessiond.v1 import event_pb2, message_pb2
from sessiond_client import Snapshot, SubscriberReplaced, Subscription


async def next_text(updates: Subscription, wanted: Callable[[message_pb2.Message], bool]) -> str:
    """The body of the next new message of the wanted kind."""
    while True:
        update = await asyncio.wait_for(anext(updates), LONG)
        assert not isinstance(update, Snapshot)
        if update.kind == event_pb2.EVENT_KIND_MESSAGE_ADDED and wanted(update.message):
            return update.message.text.body


def incoming(message: message_pb2.Message) -> bool:
    return message.direction == message_pb2.MESSAGE_DIRECTION_INCOMING


def anything(_: message_pb2.Message) -> bool:
    return True


async def test_a_stream_survives_the_agents_death(alice: Person, bob: Person) -> None:
    async with bob.client.subscribe("robot") as updates:
        await alice.client.send(bob.id, "before")
        assert await next_text(updates, incoming) == "before"
        bob.agent.kill()
        await alice.client.send(bob.id, "meanwhile", wait=True, timeout=LONG)
        waiting = asyncio.ensure_future(next_text(updates, incoming))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await bob.agent.up()
        assert await waiting == "meanwhile"


async def test_a_name_goes_on_after_what_was_dealt_with(alice: Person) -> None:
    notes = ["one", "two", "three"]
    async with alice.client.subscribe("robot") as updates:
        for note in notes:
            await alice.client.send(alice.id, note)
        assert await next_text(updates, anything) == "one"
        assert await next_text(updates, anything) == "two"
        # Asking for "two" said that "one" was dealt with; "two" itself was not.
    async with alice.client.subscribe("robot") as updates:
        assert await next_text(updates, anything) == "two"
        await updates.acknowledge()
    async with alice.client.subscribe("robot") as updates:
        assert await next_text(updates, anything) == "three"


async def test_a_wait_that_is_given_up_loses_nothing(alice: Person) -> None:
    async with alice.client.subscribe() as updates:
        for number in range(3):
            with pytest.raises(asyncio.TimeoutError):
                while True:
                    await asyncio.wait_for(anext(updates), 0.3)
            cursor = updates.cursor
            await alice.client.send(alice.id, f"note {number}")
            assert await next_text(updates, anything) == f"note {number}"
            assert updates.cursor != cursor


async def test_a_second_stream_under_a_name_ends_the_first(alice: Person) -> None:
    async with alice.client.subscribe("robot") as first, alice.client.subscribe("robot") as second:
        with pytest.raises(SubscriberReplaced) as replaced:
            while True:
                await asyncio.wait_for(anext(first), LONG)
        assert replaced.value.reason == "SUBSCRIBER_REPLACED"
        with pytest.raises(StopAsyncIteration):
            await anext(first)
        await alice.client.send(alice.id, "for the second")
        assert await next_text(second, anything) == "for the second"


async def test_another_log_gives_a_snapshot_and_goes_on(alice: Person, bob: Person) -> None:
    _, elsewhere = await bob.client.snapshot()
    await alice.client.send(alice.id, "old note")
    async with alice.client.subscribe("robot", after=elsewhere) as updates:
        missed = await asyncio.wait_for(anext(updates), LONG)
        assert isinstance(missed, Snapshot)
        assert missed.reason == "LOG_REPLACED"
        assert [c.last_message.text.body for c in missed.conversations] == ["old note"]
        await alice.client.send(alice.id, "new note")
        assert await next_text(updates, anything) == "new note"


async def test_a_replay_ends(alice: Person) -> None:
    await alice.client.send(alice.id, "a note")
    oldest = event_pb2.STREAM_START_OLDEST
    replay = alice.client.subscribe(start=oldest, replay_only=True)
    texts = [u.message.text.body async for u in replay if not isinstance(u, Snapshot) and u.message.id]
    assert "a note" in texts
