"""Binds the listening sockets before the server starts, so that a failure is one clear sentence and nothing has begun.

Not here: accepting, and what is spoken on a connection.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from router.errors import AddressInUseError, BindError, SocketInUseError

BACKLOG = 2048
_PROBE_TIMEOUT_S = 1.0
_OWNER_ONLY_UMASK = 0o177


class UnixSocket:
    """A bound unix socket that takes its path away when it is closed."""

    def __init__(self, sock: socket.socket, path: Path) -> None:
        self.sock = sock
        self.path = path
        self._inode = path.stat().st_ino

    def unlink(self) -> None:
        """Remove the path, unless another server has put its own socket there since."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()


def bind_tcp(host: str, port: int) -> list[socket.socket]:
    """Bind a TCP address.

    Args:
        host: Name or address; a name that has an IPv4 and an IPv6 address is bound on both.
        port: Port; 0 takes a free one, the same for all addresses.

    Returns:
        Bound sockets that do not listen yet; at least one.

    Raises:
        AddressInUseError: Another program listens there.
        BindError: The name is unknown, or the address cannot be bound.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as exc:
        raise BindError(f"Cannot listen on {host!r}: the host name is not known. Set server.host or --host.") from exc
    bound: list[socket.socket] = []
    with contextlib.ExitStack() as on_failure:
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            with _bind_errors(host, port):
                sock = socket.socket(family, socket.SOCK_STREAM)
                on_failure.callback(sock.close)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setblocking(False)
                actual_port = bound[0].getsockname()[1] if bound else port
                sock.bind((address[0], actual_port, *address[2:]))
                bound.append(sock)
        on_failure.pop_all()
    return bound


def bind_unix(path: Path) -> UnixSocket:
    """Bind a unix socket that only this user may connect to.

    A socket that nobody answers on, left by a server that was killed, is replaced.

    Args:
        path: Where; its folder must exist.

    Returns:
        The bound socket; it does not listen yet.

    Raises:
        SocketInUseError: A server answers there, or the path is something else than a socket.
        BindError: The path cannot be used.
    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    # The mode must be right from the first moment, and bind() knows only the umask. It belongs to the whole process,
    # which at this point runs no other thread of ours.
    old_umask = os.umask(_OWNER_ONLY_UMASK)
    try:
        sock.bind(str(path))
    except OSError as exc:
        sock.close()
        raise BindError(f"Cannot create the socket {path}: {exc.strerror or exc}. Set server.unix_socket.") from exc
    finally:
        os.umask(old_umask)
    return UnixSocket(sock, path)


def _remove_stale(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise BindError(f"Cannot look at {path}: {exc.strerror}. Set server.unix_socket.") from exc
    if not is_socket:
        raise SocketInUseError(f"{path} exists and is not a socket. Remove it, or set server.unix_socket.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
        except OSError as exc:
            raise BindError(f"Cannot tell who uses {path}: {exc.strerror or exc}. Set server.unix_socket.") from exc
    raise SocketInUseError(f"Another server answers on {path}. Stop it, or set server.unix_socket.")


@contextlib.contextmanager
def _bind_errors(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if exc.errno == errno.EADDRINUSE:
            raise AddressInUseError(
                f"{place} is in use by another program. Stop it (another mlxr? Ollama uses 11434 as well), "
                "or choose another port with --port or server.port."
            ) from exc
        raise BindError(
            f"Cannot listen on {place}: {exc.strerror or exc}. Choose another address with --host and --port."
        ) from exc
