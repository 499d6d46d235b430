"""The package itself: where the socket is, its stubs, its errors, its types."""

import os
import re
import stat
from pathlib import Path

import grpc
import pytest
import sessiond.v1.message_pb2
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from sessiond_client import Backoff, ConnectionLost, NoAgent, NoAnswer, Refused, SessiondError, socket_path
from sessiond_client._client import _SLOW
from sessiond_client._errors import from_rpc_error

PACKAGE = Path(__file__).parents[1]


def test_where_the_socket_is(tmp_path: Path) -> None:
    environment = {"SESSIOND_SOCKET": "/v/s.sock", "XDG_RUNTIME_DIR": "/run/me"}
    assert socket_path("x.sock", environ=environment) == Path("x.sock")
    assert socket_path(environ=environment) == Path("/v/s.sock")
    environment["SESSIOND_SOCKET"] = ""
    assert socket_path(environ=environment) == Path("/run/me/sessiond/sessiond.sock")
    own = tmp_path / str(os.geteuid())
    own.mkdir(mode=0o700)
    for relative in ({}, {"XDG_RUNTIME_DIR": "run"}):
        assert socket_path(environ=relative, run_user=tmp_path) == own / "sessiond" / "sessiond.sock"
    own.chmod(stat.S_IRWXU | stat.S_IWGRP)
    with pytest.raises(NoAgent, match="NO_RUNTIME_DIR"):
        socket_path(environ={}, run_user=tmp_path)


def test_the_same_calls_are_slow_as_for_the_rust_client() -> None:
    rust = (PACKAGE.parent / "rust" / "src" / "client.rs").read_text()
    slow = re.findall(r"(\w+)Request => \w+Response, network;", rust)
    assert sorted(slow) == sorted(method.split("/")[1] for method in _SLOW)


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [Backoff().pause(n) for n in range(8)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    assert Backoff().pause(10**9) == 5.0


def ended(code: grpc.StatusCode, text: str = "", reason: str = "", domain: str = "sessiond") -> SessiondError:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    status = status_pb2.Status(details=[detail]).SerializeToString()
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", status)) if reason else grpc.aio.Metadata()
    return from_rpc_error(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, text, ""))


def test_what_calls_end_with() -> None:
    locked = ended(grpc.StatusCode.FAILED_PRECONDITION, "locked", "LOCKED")
    assert (type(locked), locked.reason, locked.transient, str(locked)) == (Refused, "LOCKED", False, "locked [LOCKED]")
    assert ended(grpc.StatusCode.FAILED_PRECONDITION, reason="LOCKED", domain="example.com").reason == ""
    assert ended(grpc.StatusCode.UNAVAILABLE, reason="STOPPING").transient
    assert isinstance(ended(grpc.StatusCode.UNAVAILABLE, "Socket closed"), ConnectionLost)
    assert isinstance(ended(grpc.StatusCode.DEADLINE_EXCEEDED), NoAnswer)
    assert isinstance(ended(grpc.StatusCode.CANCELLED, "Timeout expired"), NoAnswer)


def test_the_stubs_run_with_the_oldest_protobuf_that_is_allowed() -> None:
    stub = Path(sessiond.v1.message_pb2.__file__).read_text()
    made = re.search(r"Domain\.PUBLIC,\s*(\d+),\s*(\d+),\s*(\d+)", stub)
    allowed = re.search(r'"protobuf>=(\d+)\.(\d+)\.(\d+)', (PACKAGE / "pyproject.toml").read_text())
    assert made and allowed
    assert tuple(map(int, allowed.groups())) >= tuple(map(int, made.groups()))


def test_the_stubs_are_those_of_the_schema() -> None:
    schema = PACKAGE.parent.parent / "proto" / "sessiond" / "v1"
    stubs = Path(sessiond.v1.message_pb2.__file__).parent
    assert {p.stem for p in schema.glob("*.proto")} == {p.stem.removesuffix("_pb2") for p in stubs.glob("*_pb2.py")}
    for file in schema.glob("*.proto"):
        stub = (stubs / f"{file.stem}_pb2.pyi").read_text()
        for name in re.findall(r"^message (\w+)", file.read_text(), re.MULTILINE):
            assert f"class {name}(" in stub, f"install the package again: {name} is newer than it"
