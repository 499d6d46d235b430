"""Calls, and what they end with."""

import asyncio
import socket
from pathlib import Path

import grpc
import pytest
from agents import Agent
from conftest import Person
from sessiond.v1 import account_pb2, call_pb2, daemon_pb2, message_pb2
from sessiond_client import Client, Deadlines, NoAgent, Refused, new_client_token


async def test_an_account_is_made_shown_and_brought_back(fresh: Agent, alice: Person) -> None:
    async with await fresh.connect() as client:
        assert (await client.info()).state == daemon_pb2.DAEMON_STATE_NO_ACCOUNT
        with pytest.raises(Refused) as none:
            await client.account()
        assert (none.value.code, none.value.reason) == (grpc.StatusCode.NOT_FOUND, "NO_ACCOUNT")
        with pytest.raises(Refused) as wrong:
            await client.restore_account("alpha bravo")
        assert wrong.value.reason == "PHRASE_TOO_SHORT"
        phrases = await alice.client.recovery_phrase()
        restored = await client.restore_account(phrases.bip39_phrase, "Alice again")
        assert restored.account_id == alice.id
        assert (await client.account()).display_name == "Alice again"
        assert (await client.recovery_phrase()).recovery_phrase == phrases.recovery_phrase


async def test_a_text_is_sent_once_received_and_listed(alice: Person, bob: Person) -> None:
    token = new_client_token()
    sent = await alice.client.send(bob.id, "Grüße 👋", token=token, wait=True, timeout=120)
    assert sent.send_state == message_pb2.SEND_STATE_SENT
    again = await alice.client.send(bob.id, "Grüße 👋", token=token)
    assert again.id == sent.id
    with pytest.raises(Refused) as reused:
        await alice.client.send(bob.id, "something else", token=token)
    assert reused.value.code is grpc.StatusCode.ALREADY_EXISTS
    assert reused.value.reason == "CLIENT_TOKEN_REUSED"

    await bob.client.sync()
    [received] = [m async for m in bob.client.messages(account_id=alice.id)]
    assert (received.text.body, received.author) == ("Grüße 👋", alice.id)
    assert (await bob.client.message(received.id)) == received
    [conversation] = await bob.client.conversations()
    assert (conversation.one_to_one.account_id, conversation.unread_count) == (alice.id, 1)
    assert (await bob.client.conversation(account_id=alice.id)) == conversation
    with pytest.raises(Refused) as missing:
        await bob.client.message("nothing")
    assert missing.value.reason == "MESSAGE_NOT_FOUND"


async def test_an_invitation_is_sent_and_what_cannot_be_said_is_refused(alice: Person, bob: Person) -> None:
    url = f"https://c.example/room?public_key={'0a' * 32}"
    sent = await alice.client.invite(bob.id, url, "Room", wait=True, timeout=120)
    assert (sent.community_invitation.url, sent.community_invitation.name) == (url, "Room")
    with pytest.raises(Refused) as nowhere:
        await alice.client.invite(bob.id, "https://c.example/", "Room")
    assert nowhere.value.reason == "INVITATION_INVALID"
    with pytest.raises(Refused) as nothing:
        await alice.client.report_media_saved(sent.id)
    assert nothing.value.reason == "NOT_POSSIBLE"
    ring = call_pb2.CallSignal(
        call_id="6b86b273-ff34-4ce1-9d6b-804eff5a3f57", kind=call_pb2.CALL_SIGNAL_KIND_PRE_OFFER
    )
    # Bob has not accepted yet.
    with pytest.raises(Refused) as early:
        await alice.client.send_call_signal(bob.id, ring)
    assert early.value.reason == "NOT_POSSIBLE"
    await bob.client.sync()
    await bob.client.send(alice.id, "hello", wait=True, timeout=120)
    await alice.client.sync()
    rung = await alice.client.send_call_signal(bob.id, ring)
    assert (await alice.client.message(rung.message_id)).call.state == message_pb2.CALL_STATE_CALLED


async def test_messages_are_paged_in_both_directions(alice: Person) -> None:
    bodies = [f"note {n}" for n in range(5)]
    for body in bodies:
        await alice.client.send(alice.id, body)

    async def listed(**selection: object) -> list[str]:
        pages = alice.client.messages(account_id=alice.id, **selection)  # type: ignore[arg-type]
        return [m.text.body async for m in pages]

    assert await listed() == bodies[::-1]
    assert await listed(oldest_first=True) == bodies
    assert await listed(limit=2) == ["note 4", "note 3"]


async def test_the_network_and_two_hundred_messages_at_once(alice: Person) -> None:
    status = await alice.client.network_status()
    assert status.network != "main"
    accepted = await asyncio.gather(*(alice.client.send(alice.id, f"n{n}") for n in range(200)))
    assert len({m.id for m in accepted}) == 200
    assert len([m async for m in alice.client.messages(account_id=alice.id)]) == 200


async def test_calls_that_wait_for_the_network_or_a_vault_have_time_for_it(tmp_path: Path) -> None:
    """Against a stand-in that answers everything with nothing and notes how long it may take."""
    left: dict[str, float] = {}

    class Notes(grpc.GenericRpcHandler):  # type: ignore[type-arg]
        def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
            async def answer(_: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
                left[details.method.rsplit("/", 1)[-1]] = context.time_remaining()
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Notes(),))
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    async with await Client.connect(tmp_path / "s") as client:
        await client.create_account("Alice")
        await client.restore_account("words")
        await client.sync()
        await client.send_call_signal("05", call_pb2.CallSignal())
        await client.call("AccountService/Unlock", account_pb2.UnlockRequest(), account_pb2.UnlockResponse)
        await client.info()
        assert 0 < left["GetInfo"] < Deadlines().call + 1
        await client.call("DaemonService/GetInfo", daemon_pb2.GetInfoRequest(), daemon_pb2.GetInfoResponse, timeout=7)
    await server.stop(None)
    # gRPC rounds up a little.
    assert left.pop("GetInfo") < 8
    assert set(left) == {"CreateAccount", "RestoreAccount", "Sync", "SendCallSignal", "Unlock"}
    # A keyring may ask for a password, for up to 80 s.
    assert all(80 < seconds < Deadlines().network + 1 for seconds in left.values()), left


async def test_an_agent_that_is_not_there_or_does_not_answer_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(NoAgent) as none:
        await Client.connect(path)
    assert (none.value.reason, none.value.transient) == ("NO_SOCKET", True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with pytest.raises(NoAgent) as dead:
            await Client.connect(path)
        assert dead.value.reason == "NOT_LISTENING"
        listener.listen()
        with pytest.raises(NoAgent) as mute:
            await Client.connect(path, deadlines=Deadlines(connect=0.2))
        assert mute.value.reason == "SOCKET_NO_ANSWER"
    with pytest.raises(NoAgent) as long:
        await Client.connect("/" + "a" * 108)
    assert (long.value.reason, long.value.transient) == ("SOCKET_PATH_TOO_LONG", False)
