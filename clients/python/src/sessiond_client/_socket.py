"""Where the agent's socket is, and whether the agent behind it is ours.

The same rules as every other frontend's: what the caller says, else ``SESSIOND_SOCKET``, else
``$XDG_RUNTIME_DIR/sessiond/sessiond.sock``, else ``/run/user/UID/sessiond/sessiond.sock`` if that directory is ours alone.
There is no fall-back to a place that other users can write to: whoever listens is given messages and recovery phrases.
"""

import os
import socket
import stat
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from ._errors import NoAgent

_BELOW_RUNTIME_DIR = Path("sessiond", "sessiond.sock")
# Longest path in bytes that a socket address holds, the closing zero byte not counted.
_MAX_PATH_BYTES = 107 if sys.platform == "linux" else 103


def socket_path(
    explicit: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    run_user: Path = Path("/run/user"),
) -> Path:
    """The socket's path; ``explicit`` overrides everything. Opens and creates nothing.

    Raises NoAgent with the reason NO_RUNTIME_DIR or SOCKET_PATH_TOO_LONG.
    """
    if explicit is not None:
        path = Path(explicit)
    elif variable := environ.get("SESSIOND_SOCKET"):
        path = Path(variable)
    else:
        path = _runtime_dir(environ, run_user) / _BELOW_RUNTIME_DIR
    length = len(os.fsencode(path))
    if length > _MAX_PATH_BYTES:
        raise NoAgent(
            "SOCKET_PATH_TOO_LONG",
            f"the socket path {path} has {length} bytes, at most {_MAX_PATH_BYTES} are possible; choose a shorter one",
        )
    return path


def _runtime_dir(environ: Mapping[str, str], run_user: Path) -> Path:
    # A relative value is to be ignored, says the XDG base directory specification.
    named = Path(environ.get("XDG_RUNTIME_DIR", ""))
    if named.is_absolute():
        return named
    uid = os.geteuid()
    directory = run_user / str(uid)
    try:
        found = directory.lstat()
    except OSError:
        found = None
    if found and stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o022:
        return directory
    raise NoAgent(
        "NO_RUNTIME_DIR",
        f"no runtime directory: XDG_RUNTIME_DIR is not an absolute path and {directory} is not a directory of ours; "
        "set SESSIOND_SOCKET or name the socket",
    )


def check_listener(path: Path, timeout: float) -> None:
    """Makes sure that somebody listens and that it is our own user. Raises NoAgent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(timeout)
        try:
            knock.connect(os.fspath(path))
        except FileNotFoundError:
            raise NoAgent(
                "NO_SOCKET",
                f"no agent runs: there is no socket at {path}; start it with `sessiond run`, or name the socket it uses",
            ) from None
        except ConnectionRefusedError:
            raise NoAgent(
                "NOT_LISTENING", f"no agent runs: nobody listens at {path}; start it with `sessiond run`"
            ) from None
        except PermissionError:
            raise NoAgent(
                "SOCKET_PERMISSION", f"no permission to open {path}; run this as the user whose agent it is"
            ) from None
        except OSError as error:
            raise NoAgent("SOCKET_ERROR", f"cannot connect to {path}: {error}") from error
        if sys.platform == "linux":
            size = struct.calcsize("3i")
            _, uid, _ = struct.unpack("3i", knock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        else:
            uid = path.stat().st_uid
        if uid != os.geteuid():
            raise NoAgent("SOCKET_NOT_OURS", f"{path} is served by user {uid}, not by us (user {os.geteuid()})")
