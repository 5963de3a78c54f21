"""The other ranks as rank 0 has them: started, proved, told, listened to, and seen to be gone."""

import contextlib
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from backends.errors import EngineLostError, FrameError, LoadError
from backends.mlx.ranks.group import RankGroup, join
from backends.mlx.ranks.link import (
    MAX_GREETING_BYTES,
    Link,
    LinkClosedError,
    challenge,
    free_port,
    is_proved,
    welcome_mac,
)
from backends.mlx.ranks.messages import Call, Ending, Mirrored, Order, Proof, Refused, Reply, Welcome
from backends.mlx.ranks.starting import RankProcess
from backends.mlx.ranks.versions import own_versions, version_clash
from backends.wire.load import RankHost

START_TIMEOUT_S: Final = 120.0
"""For a rank's libraries to be imported and its connection to come; the gateway's load timeout is the user's."""
GREETING_TIMEOUT_S: Final = 5.0
"""For one that has connected to prove itself; whoever else connects takes no longer."""
END_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.1


class OtherRanks:
    """Ranks 1 and up, one process each, in one group with this process.

    Calls come from the engine's thread; each rank is read by a thread of its own.

    Args:
        hosts: Of all ranks, rank 0 first.
        backend: `ring` or `jaccl`.

    Attributes:
        group: Of all ranks.
        on_lost: Called from another thread when the group is gone, with the words for it; None = nobody is.

    Raises:
        LoadError: A rank does not start, is of another version, or does not reach the others.
    """

    group: RankGroup

    def __init__(self, hosts: tuple[RankHost, ...], backend: str) -> None:
        self.hosts = hosts
        self.backend = backend
        self.on_lost: Callable[[str], object] | None = None
        self._lost: str | None = None
        self._is_closed = False
        self._links: list[Link] = []
        self._replies: list[queue.SimpleQueue[Reply]] = []
        self._processes: list[RankProcess] = []
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def tell(self, engine_id: int, agreed: int, call: Call) -> None:
        """Tell all ranks of a call that this one is about to make.

        Raises:
            EngineLostError: One is gone.
        """
        self.check()
        frame = Mirrored(engine_id, agreed, call)
        try:
            for link in self._links:
                link.send(frame)
        except LinkClosedError as exc:
            raise EngineLostError(self.words(str(exc))) from exc

    def check(self) -> None:
        """Let a group pass that is whole.

        Raises:
            EngineLostError: It is not.
        """
        if self._lost is not None:
            raise EngineLostError(self._lost)

    def refusals(self) -> list[str]:
        """Wait for the answers of all ranks to a load; return what those say that cannot have it.

        Raises:
            EngineLostError: One is gone.
        """
        answers = [replies.get() for replies in self._replies]
        self.check()
        pairs = zip(self._processes, answers, strict=True)
        return [f"{process.label}: {answer.message}" for process, answer in pairs if isinstance(answer, Refused)]

    def lose(self, words: str) -> None:
        """Note that the group is gone; the first words stay."""
        self._lost = self._lost or words

    def words(self, otherwise: str) -> str:
        """Return why the group is gone, if a rank has said so or has ended."""
        if self._lost is not None:
            return self._lost
        for process in self._processes:
            if process.exit_code is not None:
                return f"{process.label} has ended{process.last_words()}"
        return otherwise

    def close(self) -> None:
        """End all ranks."""
        self._is_closed = True
        for link in self._links:
            link.close()
        for process in self._processes:
            process.end(END_TIMEOUT_S)

    # ---- start ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        secret = secrets.token_bytes(32)
        with _listener(self.hosts[0]) as listener:
            leader = (self.hosts[0].address, int(listener.getsockname()[1]))
            for rank, host in enumerate(self.hosts[1:], 1):
                order = Order(rank=rank, secret=secret, leader=leader, address=host.address)
                self._processes.append(_started(host, order))
            proved = self._proved(listener, secret)
        proofs = [proved[process.rank] for process in self._processes]
        self._links = [link for link, _proof in proofs]
        for process, (_link, proof) in zip(self._processes, proofs, strict=True):
            clash = version_clash(own_versions(), proof.versions)
            if clash is not None:
                raise LoadError(f"{process.label} has {clash}; all hosts need the same")
        ports = [free_port(self.hosts[0].address), *(proof.port for _link, proof in proofs)]
        addresses = tuple(f"{host.address}:{port}" for host, port in zip(self.hosts, ports, strict=True))
        devices = tuple(host.devices for host in self.hosts) if self.backend == "jaccl" else ()
        for link, proof in proofs:
            mac = welcome_mac(secret, proof)
            link.send(Welcome(mac=mac, backend=self.backend, addresses=addresses, devices=devices))
        self._replies = [queue.SimpleQueue() for _ in self._links]
        for index in range(len(self._links)):
            threading.Thread(target=self._listen, args=(index,), daemon=True, name=f"rank-{index + 1}").start()
        try:
            self.group = join(0, Welcome(mac=b"", backend=self.backend, addresses=addresses, devices=devices))
        except LoadError as exc:
            raise LoadError(self.words(str(exc))) from exc

    def _proved(self, listener: socket.socket, secret: bytes) -> dict[int, tuple[Link, Proof]]:
        """Wait until each rank has connected and proved itself; whoever else connects is sent away."""
        proved: dict[int, tuple[Link, Proof]] = {}
        deadline = time.monotonic() + START_TIMEOUT_S
        listener.settimeout(_POLL_S)
        while len(proved) < len(self._processes):
            for process in self._processes:
                if process.exit_code is not None:
                    how = f"(exit code {process.exit_code}){process.last_words()}"
                    raise LoadError(f"{process.label} did not start {how}")
            if time.monotonic() > deadline:
                missing = ", ".join(each.label for each in self._processes if each.rank not in proved)
                raise LoadError(f"{missing} did not answer within {START_TIMEOUT_S:g} s")
            with contextlib.suppress(TimeoutError):
                sock, _address = listener.accept()
                link = Link(sock)
                proof = _proof_of(link, secret)
                if proof is None or proof.rank in proved or proof.rank > len(self._processes):
                    link.close()
                else:
                    proved[proof.rank] = link, proof
        return proved

    # ---- listen -----------------------------------------------------------------------------------------------------

    def _listen(self, index: int) -> None:
        """Take what a rank says, until it is gone; the body of its thread."""
        link, process = self._links[index], self._processes[index]
        try:
            while True:
                reply: Reply = link.receive(Reply)
                if isinstance(reply, Ending):
                    self._note_lost(f"{process.label}: {reply.message}")
                self._replies[index].put(reply)
        except (LinkClosedError, FrameError) as exc:
            if not self._is_closed:
                self._note_lost(f"{process.label} is gone{process.last_words() or f': {exc}'}")
            self._replies[index].put(Ending(str(exc)))

    def _note_lost(self, words: str) -> None:
        if self._lost is None:
            self.lose(words)
            if self.on_lost is not None:
                self.on_lost(words)


def _started(host: RankHost, order: Order) -> RankProcess:
    try:
        return RankProcess(host, order)
    except OSError as exc:
        raise LoadError(f"rank {order.rank} on {host.label} cannot be started: {exc}") from exc


def _listener(host: RankHost) -> socket.socket:
    try:
        return socket.create_server((host.address, 0))
    except OSError as exc:
        words = f"hosts: {host.address} is no address of this machine ({exc}); give it as local=ADDRESS"
        raise LoadError(words) from exc


def _proof_of(link: Link, secret: bytes) -> Proof | None:
    """Let somebody prove to be a rank; None = it did not."""
    asked = challenge()
    try:
        link.send(asked)
        proof: Proof = link.receive(Proof, max_bytes=MAX_GREETING_BYTES, timeout_s=GREETING_TIMEOUT_S)
    except (LinkClosedError, FrameError):
        return None
    return proof if is_proved(secret, asked, proof) else None
