"""A network for all tests; agents and accounts for each."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest_asyncio
from agents import Agent, Network
from sessiond_client import Client

_numbers = count(1)


@dataclass
class Person:
    """An agent with an account."""

    agent: Agent
    client: Client
    id: str


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def network() -> AsyncIterator[Network]:
    # Short, since the path of a socket has at most 107 bytes.
    room = Path(tempfile.mkdtemp(prefix="sdp-", dir="/tmp"))
    network = Network(room)
    try:
        await network.ready()
        yield network
    finally:
        network.end()
        shutil.rmtree(room)


async def person(network: Network) -> AsyncIterator[Person]:
    agent = Agent(network, f"a{next(_numbers)}")
    await agent.up()
    async with await agent.connect() as client:
        account = await client.create_account(agent.name)
        yield Person(agent, client, account.account_id)
    agent.kill()


alice = pytest_asyncio.fixture(loop_scope="session", name="alice")(person)
bob = pytest_asyncio.fixture(loop_scope="session", name="bob")(person)


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(network: Network) -> AsyncIterator[Agent]:
    """An agent without an account."""
    agent = Agent(network, f"a{next(_numbers)}")
    await agent.up()
    yield agent
    agent.kill()
