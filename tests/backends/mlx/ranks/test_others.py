"""How rank 0 gets its other ranks: strangers are sent away, and one that does not start is said why."""

import queue
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from backends.errors import LoadError
from backends.mlx.ranks import starting
from backends.mlx.ranks.link import Link, challenge, proof_mac
from backends.mlx.ranks.messages import Challenge, Order, Proof
from backends.mlx.ranks.others import OtherRanks
from backends.wire.load import RankHost

TWO = (RankHost(), RankHost())
VERSIONS = {"mlxr": "0"}


class Pretended(starting.RankProcess):
    """A rank's process that is none: it tells the test its order and stays as long as it is wanted."""

    orders: "queue.SimpleQueue[Order]" = queue.SimpleQueue()

    def __init__(self, host: RankHost, order: Order) -> None:
        self.host = host
        self.rank = order.rank
        self.orders.put(order)

    @property
    def exit_code(self) -> int | None:
        return None

    def last_words(self) -> str:
        return ""

    def end(self, timeout_s: float) -> None:
        del timeout_s


def connect(order: Order, secret: bytes, rank: int = 1) -> Link:
    """Connect to rank 0 and prove oneself, with whatever secret."""
    link = Link(socket.create_connection(order.leader))
    asked: Challenge = link.receive(Challenge)
    nonce = challenge().nonce
    mac = proof_mac(secret, asked.nonce, nonce, rank)
    link.send(Proof(rank=rank, nonce=nonce, mac=mac, port=1, versions=VERSIONS))
    return link


def is_closed(link: Link) -> bool:
    return link._socket.recv(1) == b""


def test_a_stranger_becomes_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load goes on to the true rank, which is refused here by its versions alone."""
    monkeypatch.setattr("backends.mlx.ranks.others.RankProcess", Pretended)
    caught: list[BaseException] = []

    def load() -> None:
        try:
            OtherRanks(TWO, "ring")
        except LoadError as exc:
            caught.append(exc)

    loading = threading.Thread(target=load)
    loading.start()
    order = Pretended.orders.get()
    strangers = [connect(order, b"x" * 32), connect(order, order.secret, rank=2)]
    silent = socket.create_connection(order.leader)
    silent.close()
    assert all(map(is_closed, strangers))
    true = connect(order, order.secret)
    loading.join()
    for link in (*strangers, true):
        link.close()
    assert "rank 1 on this machine has mlxr 0 (here " in str(caught[0])


def test_a_rank_that_does_not_start_is_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "MODULE", "backends.no_such_module")
    with pytest.raises(LoadError, match=r"rank 1 on this machine did not start \(exit code 1\): .*no_such_module"):
        OtherRanks(TWO, "ring")


def test_a_host_that_ssh_does_not_reach_is_said_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\necho 'ssh: Could not resolve hostname mac2' >&2\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    hosts: Any = (RankHost(), RankHost(ssh="mac2", address="10.0.0.2"))
    with pytest.raises(LoadError, match=r"rank 1 on mac2 did not start .*Could not resolve hostname mac2"):
        OtherRanks(hosts, "ring")


def test_an_address_that_is_not_ours_is_said_with_the_way_out() -> None:
    with pytest.raises(LoadError, match=r"203\.0\.113\.77 is no address of this machine .* local=ADDRESS"):
        OtherRanks((RankHost(address="203.0.113.77"), RankHost()), "ring")
