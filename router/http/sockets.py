"""Binds the listening sockets before the server starts, so that a failure is one clear sentence and nothing has begun.

Not here: accepting, and what is spoken on a connection.
"""

import contextlib
import errno
import ipaddress
import os
import socket
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from router.errors import AddressInUseError, BindError, SocketInUseError

BACKLOG = 2048
_PROBE_TIMEOUT_S = 1.0
_OWNER_ONLY_UMASK = 0o177
_NUM_FREE_PORTS_TRIED = 8

_Address = tuple[socket.AddressFamily, str, tuple[Any, ...]]
"""Family, address, and what stands behind the port."""
_LOOPBACKS: Final[list[_Address]] = [(socket.AF_INET, "127.0.0.1", ()), (socket.AF_INET6, "::1", ())]


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


def bind_tcp(host: str, port: int, *, is_asking_first: bool = sys.platform == "darwin") -> list[socket.socket]:
    """Bind a TCP address.

    Args:
        host: Name or address; a name that has an IPv4 and an IPv6 address is bound on both. `localhost` is both
            loopbacks whatever the machine's files say, and IPv4's alone where the machine has no other.
        port: Port; 0 takes a free one, the same for all addresses.
        is_asking_first: Look by connecting whether somebody listens: macOS lets a program bind 127.0.0.1 while another
            has the port on all addresses, and the other way round, so that clients reach one or the other.

    Returns:
        Bound sockets that do not listen yet; at least one.

    Raises:
        AddressInUseError: Another program listens there.
        BindError: The name is unknown, or the address cannot be bound.
    """
    is_localhost = host.lower() == "localhost"
    addresses = _LOOPBACKS if is_localhost else _resolved(host)
    if is_asking_first and port != 0:
        _check_nobody_answers({address for _, address, _ in addresses}, port)
    for _ in range(_NUM_FREE_PORTS_TRIED - 1 if port == 0 else 0):
        with contextlib.suppress(AddressInUseError):  # the port that was free at one address is not at another
            return _bind_all(addresses, 0, None if is_localhost else host)
    return _bind_all(addresses, port, None if is_localhost else host)


def _bind_all(addresses: Sequence[_Address], port: int, host: str | None) -> list[socket.socket]:
    """Bind all addresses on one port.

    Args:
        host: What they are the addresses of, for errors; None = the loopbacks, of which IPv6's may be missing.
    """
    bound: list[socket.socket] = []
    with contextlib.ExitStack() as on_failure:
        for family, address, scope in addresses:
            actual_port = bound[0].getsockname()[1] if bound else port
            try:
                with _bind_errors(host or address, actual_port):
                    sock = _bound(family, (address, actual_port, *scope))
            except BindError:
                if host is None and bound and not _has_address(family, address):
                    continue
                raise
            on_failure.callback(sock.close)
            bound.append(sock)
        on_failure.pop_all()
    return bound


def _resolved(host: str) -> list[_Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as exc:
        raise BindError(f"Cannot listen on {host!r}: the host name is not known. Set server.host or --host.") from exc
    return [
        (family, str(address[0]), address[2:])
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found)
    ]


def _bound(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _has_address(family: socket.AddressFamily, address: str) -> bool:
    """Tell whether this machine has an address, by a port that is free there if there is any."""
    try:
        _bound(family, (address, 0)).close()
    except OSError:
        return False
    return True


def _check_nobody_answers(addresses: set[str], port: int) -> None:
    """Refuse a port on which another server answers; on loopback on both of what `localhost` means."""
    known = {ipaddress.ip_address(address) for address in addresses}
    everywhere = {address for address in known if address.is_unspecified}
    if everywhere or any(address.is_loopback for address in known):
        known = known - everywhere | {ipaddress.ip_address(address) for _, address, _ in _LOOPBACKS}
    for address in sorted(map(str, known)):
        try:
            socket.create_connection((address, port), _PROBE_TIMEOUT_S).close()
        except OSError:
            continue  # nobody, or no such address here
        with _bind_errors(address, port):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


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
