"""The process of a rank other than 0.

    python -P -m backends.mlx.ranks.process

It reads an `Order` from stdin, proves itself to rank 0, joins the group and makes rank 0's calls. It ends with its
stdin, with its connection, or with its parent, whatever it does then: no rank stays when rank 0 is gone.
"""

import os
import queue
import secrets
import signal
import socket
import struct
import sys
import threading
from typing import Final

from backends.errors import BackendError, FrameError, LoadError
from backends.lifeline import EXIT_ORPHANED, end_with_stdin
from backends.machine.current import current_platform
from backends.mlx.ranks.ledger import RanksDisagreeError
from backends.mlx.ranks.link import (
    MAX_GREETING_BYTES,
    NONCE_BYTES,
    Link,
    LinkClosedError,
    decoded,
    free_port,
    is_welcome,
    proof_mac,
)
from backends.mlx.ranks.messages import MAX_ORDER_BYTES, Challenge, Ending, Mirrored, Order, Proof, Welcome
from backends.mlx.transformers_index import quicken_transformers

CONNECT_TIMEOUT_S: Final = 20.0
_HEADER: Final = struct.Struct(">I")
_OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def main() -> int:
    """Be a rank until rank 0 is gone; return the exit code."""
    current_platform().end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(_OFFLINE)
    try:
        order = _read_order()
        end_with_stdin()
        _follow(order)
    except (BackendError, RanksDisagreeError, LinkClosedError, OSError) as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - rank 0 keeps the tail of stderr for its error
    return 1


def _read_order() -> Order:
    (length,) = _HEADER.unpack(_read(_HEADER.size))
    if length > MAX_ORDER_BYTES:
        raise FrameError(f"an order of {length} bytes is none of ours")
    return decoded(_read(length), Order)


def _read(num_bytes: int) -> bytes:
    """Read from stdin, no byte more: the rest of it is the lifeline."""
    data = b""
    while len(data) < num_bytes:
        piece = os.read(0, num_bytes - len(data))
        if not piece:
            raise FrameError("stdin has ended before the order")
        data += piece
    return data


def _follow(order: Order) -> None:
    """Make rank 0's calls for ever."""
    quicken_transformers()
    from backends.mlx.device import prepare_device  # noqa: PLC0415 - libraries come after what quickens their import
    from backends.mlx.ranks.following import FollowingEngines  # noqa: PLC0415
    from backends.mlx.ranks.group import join  # noqa: PLC0415
    from backends.mlx.ranks.versions import own_versions  # noqa: PLC0415

    prepare_device()
    link, welcome = _meet(order, own_versions())
    calls: queue.SimpleQueue[Mirrored] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(link, calls), daemon=True, name="rank-0").start()
    try:
        engines = FollowingEngines(join(order.rank, welcome))
        while True:
            reply = engines.make(calls.get())
            if reply is not None:
                link.send(reply)
    except (BackendError, RanksDisagreeError) as exc:
        link.send(Ending(str(exc)))
        raise


def _meet(order: Order, versions: dict[str, str]) -> tuple[Link, Welcome]:
    """Connect to rank 0, and let both sides prove themselves."""
    try:
        port = free_port(order.address)
        link = Link(socket.create_connection(order.leader, timeout=CONNECT_TIMEOUT_S))
    except OSError as exc:
        words = f"hosts: {order.address} is not its address, or it does not reach {order.leader[0]}"
        raise LoadError(f"{words} ({exc.strerror or exc})") from exc
    asked: Challenge = link.receive(Challenge, max_bytes=MAX_GREETING_BYTES, timeout_s=CONNECT_TIMEOUT_S)
    nonce = secrets.token_bytes(NONCE_BYTES)
    mac = proof_mac(order.secret, asked.nonce, nonce, order.rank)
    proof = Proof(rank=order.rank, nonce=nonce, mac=mac, port=port, versions=versions)
    link.send(proof)
    # Until all others have come, which the end of stdin bounds.
    welcome: Welcome = link.receive(Welcome, max_bytes=MAX_GREETING_BYTES)
    if not is_welcome(order.secret, proof, welcome):
        raise FrameError("who answers at rank 0's address has not its secret")
    return link, welcome


def _receive(link: Link, calls: "queue.SimpleQueue[Mirrored]") -> None:
    """Take rank 0's calls; the body of a thread, which ends the process when rank 0 is gone."""
    try:
        while True:
            calls.put(link.receive(Mirrored))
    except FrameError as exc:
        print(exc, file=sys.stderr)  # noqa: T201
    except LinkClosedError:
        pass
    os._exit(EXIT_ORPHANED)


if __name__ == "__main__":
    _code = main()
    sys.stderr.flush()
    os._exit(_code)  # as workers: a library's own end may wait for a group that is gone
