"""Runs the programs of proto/README.md, each against a fresh agent; see `run` beside this."""

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "clients" / "python" / "tests"))

from agents import LONG, Agent, Network, environment  # noqa: E402 - found beside the Python package

MARKED = re.compile(r"^<!-- run: (\S+) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```(\w+)", re.MULTILINE)
INTERPRETERS = {"python": [sys.executable], "js": ["node"], "sh": ["bash", "-euo", "pipefail"]}
EXPECTED = {"sessiond-client", "grpcio", "grpc-js", "buf", "grpcurl"}
# Compiled by the tests of clients/rust.
ELSEWHERE = {"rust"}


async def drive(network: Network, name: str, language: str, program: str) -> str:
    """Runs one program; gives what is wrong, or nothing."""
    agent = Agent(network, name)
    await agent.up()
    file = network.room / f"{name}.{language}"
    file.write_text(program)
    ran = await asyncio.to_thread(
        subprocess.run,
        [*INTERPRETERS[language], str(file)],
        cwd=ROOT / "proto",
        env={**environment(), "SESSIOND_SOCKET": str(agent.socket)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    agent.kill()
    if ran.returncode == 0 and f"stored: hello from {name}\n" in ran.stdout:
        return ""
    return f"{name} ended with {ran.returncode}\n{ran.stdout}{ran.stderr}"


async def main() -> int:
    text = (ROOT / "proto" / "README.md").read_text()
    programs = MARKED.findall(text)
    names = {name for name, _, _ in programs}
    runnable = [language for language in FENCE.findall(text) if language not in ELSEWHERE]
    if names != EXPECTED or len(runnable) != len(programs):
        print(f"proto/README.md: {sorted(names)} of {len(runnable)} programs are marked to be run", file=sys.stderr)
        return 1
    network = Network(Path(tempfile.mkdtemp(prefix="sdl-", dir="/tmp")))
    failures = 0
    try:
        await network.ready()
        for program in programs:
            wrong = await drive(network, *program)
            print(wrong or f"{program[0]}: made an account, sent a note and saw it stored")
            failures += bool(wrong)
    finally:
        network.end()
        shutil.rmtree(network.room)
    return 1 if failures else 0


sys.exit(asyncio.run(main()))
