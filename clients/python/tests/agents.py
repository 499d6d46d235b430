"""Real agents on a real local network, as processes.

One binary of the build is all of them, by the name it is called by; it ends when its standard input does, so that nothing
outlives the tests.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from sessiond_client import Client, SessiondError

T = TypeVar("T")

# Far more than anything here takes, also on a machine that is busy with something else.
LONG = 120.0



def _built() -> Path:
    """Where cargo has built it, wherever that is."""
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    answer = subprocess.run(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, check=True)
    return Path(json.loads(answer.stdout)["target_directory"]) / "debug" / "e2e-node"


NODE = Path(os.environ.get("SESSIOND_TEST_NODE") or _built())


async def until(what: str, look: Callable[[], Awaitable[T | None]]) -> T:
    """Looks until there is something, and gives it."""
    loop = asyncio.get_running_loop()
    end = loop.time() + LONG
    while (found := await look()) is None:
        assert loop.time() < end, f"{what}: not within {LONG} s"
        await asyncio.sleep(0.02)
    return found


def environment() -> dict[str, str]:
    """Without the settings of the person who runs the tests, and of what they run under."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SESSIOND_", "XDG_", "NOTIFY_", "WATCHDOG_", "LISTEN_", "CREDENTIALS_", "JOURNAL_", "RUST_LOG"))
    }
    # No configuration file, no notifications on the desktop.
    return {**kept, "SESSIOND_CONFIG": "", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"}


class Process:
    """A program of the build."""

    def __init__(self, name: str, arguments: list[str], log: Path) -> None:
        with log.open("ab") as out:
            self.child = subprocess.Popen(
                [name, *arguments],
                executable=NODE,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=out,
                env=environment(),
            )
        self.log = log

    def check(self) -> None:
        assert self.child.poll() is None, f"ended:\n{self.log.read_text(errors='replace')[-4000:]}"

    def kill(self) -> None:
        """SIGKILL."""
        self.child.kill()
        self.child.wait()
        if self.child.stdin:
            self.child.stdin.close()


class Network:
    """The local network, in whose directory the agents live, too."""

    def __init__(self, room: Path) -> None:
        self.room = room
        self.file = room / "net.toml"
        arguments = ["run", "--nodes", "12", "--swarm-size", "5", "--time-scale", "0.2"]
        arguments += ["--state-dir", str(room / "net"), "--network-file", str(self.file)]
        self.process = Process("session-localnet", arguments, room / "net.log")
        self.agents: list[Agent] = []

    async def ready(self) -> None:
        async def look() -> bool | None:
            self.process.check()
            return True if self.file.exists() else None

        await until("the local network is ready", look)

    def end(self) -> None:
        for agent in self.agents:
            agent.kill()
        self.process.kill()


class Agent:
    """An agent with a state directory, a socket and a passphrase of its own."""

    def __init__(self, network: Network, name: str) -> None:
        self.network = network
        self.name = name
        self.socket = network.room / f"{name}.sock"
        self.passphrase = network.room / f"{name}.pass"
        self.passphrase.write_text("correct horse battery staple\n")
        self.process: Process | None = None
        network.agents.append(self)

    async def up(self) -> None:
        """Starts it and waits until it answers."""
        room = self.network.room
        arguments = ["run", "--vault", "passphrase", "--passphrase-file", str(self.passphrase)]
        arguments += ["--state-dir", str(room / self.name), "--socket", str(self.socket)]
        arguments += ["--network", str(self.network.file)]
        process = self.process = Process("sessiond", arguments, room / f"{self.name}.log")

        async def look() -> bool | None:
            process.check()
            try:
                async with await Client.connect(self.socket) as client:
                    return (await client.info()).pid == process.child.pid or None
            except SessiondError:
                return None

        await until(f"{self.name} answers", look)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process:
            self.process.kill()
            self.process = None

    async def connect(self) -> Client:
        return await Client.connect(self.socket)
