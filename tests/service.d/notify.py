"""What the agent tells a service manager: bound as the manager would bind it, and read."""

import os
import signal
import socket
import subprocess
import time

scratch, binaries = os.environ["SCRATCH"], os.environ["BIN"]
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(f"{scratch}/notify")


def told(wanted, seconds=60):
    """Reads until a message has this line; returns all lines read."""
    lines, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        manager.settimeout(max(0.01, until - time.monotonic()))
        try:
            lines += manager.recv(4096).decode().splitlines()
        except TimeoutError:
            break
        if any(line.split("=")[0] == wanted for line in lines):
            return lines
    raise SystemExit(f"service: {wanted} was not told; told: {lines}")


environment = dict(os.environ, NOTIFY_SOCKET=f"{scratch}/notify", WATCHDOG_USEC="1000000")
agent = subprocess.Popen(
    [
        f"{binaries}/sessiond", "run", "--network", f"{scratch}/net.toml", "--state-dir", f"{scratch}/notified",
        "--socket", f"{scratch}/notified.sock", "--vault", "passphrase", "--passphrase-file", f"{scratch}/pass",
    ],
    env=environment,
    stderr=open(f"{scratch}/notified.log", "w"),
)
try:
    lines = told("READY")
    assert any(line.startswith("STATUS=") for line in lines), lines
    status = subprocess.run([f"{binaries}/sessionctl", "--socket", f"{scratch}/notified.sock", "status"], timeout=60)
    assert status.returncode == 0, "ready, but no call is answered"
    for _ in range(4):
        told("WATCHDOG", 20)
    agent.send_signal(signal.SIGHUP)
    lines = told("RELOADING") + told("READY")
    assert any(line.startswith("MONOTONIC_USEC=") for line in lines), lines
    # A stopped process feeds nobody: that is what the manager's watchdog goes by.
    agent.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    manager.settimeout(0.01)
    try:
        while manager.recv(4096):
            pass
    except TimeoutError:
        pass
    manager.settimeout(3)
    try:
        raise SystemExit(f"service: a stopped agent said {manager.recv(4096)}")
    except TimeoutError:
        pass
    agent.send_signal(signal.SIGCONT)
    told("WATCHDOG", 20)
    agent.terminate()
    told("STOPPING")
    assert agent.wait(60) == 0
finally:
    agent.kill()
