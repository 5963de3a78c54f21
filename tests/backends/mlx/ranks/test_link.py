"""Frames between ranks, and the proof of the secret: nobody else becomes a rank."""

import socket
import struct
import threading
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import FrameError
from backends.mlx.ranks.link import (
    MAX_GREETING_BYTES,
    Link,
    LinkClosedError,
    challenge,
    decoded,
    is_proved,
    is_welcome,
    proof_mac,
    welcome_mac,
)
from backends.mlx.ranks.messages import Challenge, Fork, Mirrored, Proof, Reply, Step, Welcome

SECRET, OTHER = b"s" * 32, b"o" * 32


@pytest.fixture
def ends() -> Iterator[tuple[Link, socket.socket]]:
    ours, theirs = socket.socketpair()
    link = Link(ours)
    yield link, theirs
    link.close()
    theirs.close()


def proof_of(secret: bytes, asked: Challenge, rank: int = 1) -> Proof:
    nonce = challenge().nonce
    mac = proof_mac(secret, asked.nonce, nonce, rank)
    return Proof(rank=rank, nonce=nonce, mac=mac, port=1, versions={})


def test_what_is_sent_in_pieces_arrives_as_it_was(ends: tuple[Link, socket.socket]) -> None:
    link, theirs = ends
    calls = [Mirrored(1, 7, Fork(1, 2, 30)), Mirrored(1, 8, Step((), (3,), 8, 8))]
    other = Link(theirs)

    def send() -> None:
        for call in calls:
            other.send(call)

    sent = threading.Thread(target=send)
    sent.start()
    assert [link.receive(Mirrored) for _ in calls] == calls
    sent.join()


def test_a_length_above_the_limit_is_refused_before_anything_is_allocated(ends: tuple[Link, socket.socket]) -> None:
    link, theirs = ends
    theirs.sendall(struct.pack(">I", MAX_GREETING_BYTES + 1))
    with pytest.raises(FrameError, match="claims"):
        link.receive(Proof, max_bytes=MAX_GREETING_BYTES)


@given(st.binary(max_size=200))
def test_whatever_bytes_come_are_a_message_or_a_frame_error(body: bytes) -> None:
    for kind in (Mirrored, Proof, Reply):
        try:
            decoded(body, kind)  # type: ignore[arg-type]
        except FrameError:
            continue


@pytest.mark.parametrize("num_bytes", [0, 2, 4, 5])
def test_a_peer_that_ends_in_the_middle_of_a_frame_is_gone(ends: tuple[Link, socket.socket], num_bytes: int) -> None:
    link, theirs = ends
    theirs.sendall((struct.pack(">I", 10) + b"x" * 10)[:num_bytes])
    theirs.close()
    with pytest.raises(LinkClosedError):
        link.receive(Mirrored)


def test_a_peer_that_says_nothing_is_given_up(ends: tuple[Link, socket.socket]) -> None:
    with pytest.raises(LinkClosedError):
        ends[0].receive(Proof, timeout_s=0.01)


def test_both_sides_prove_the_secret() -> None:
    asked = challenge()
    proof = proof_of(SECRET, asked)
    assert is_proved(SECRET, asked, proof)
    assert is_welcome(SECRET, proof, Welcome(mac=welcome_mac(SECRET, proof), backend="ring", addresses=()))


def test_who_has_another_secret_proves_nothing() -> None:
    asked = challenge()
    assert not is_proved(SECRET, asked, proof_of(OTHER, asked))
    proof = proof_of(SECRET, asked)
    assert not is_welcome(SECRET, proof, Welcome(mac=welcome_mac(OTHER, proof), backend="ring", addresses=()))


def test_a_proof_is_of_one_challenge_and_one_rank() -> None:
    asked = challenge()
    proof = proof_of(SECRET, asked)
    assert not is_proved(SECRET, challenge(), proof)
    assert not is_proved(SECRET, asked, msgspec.structs.replace(proof, rank=2))


def test_a_listener_cannot_send_a_proof_back_as_its_own() -> None:
    proof = proof_of(SECRET, challenge())
    assert not is_welcome(SECRET, proof, Welcome(mac=proof.mac, backend="ring", addresses=()))


@pytest.mark.parametrize("rank", [-1, 0, 64, 1 << 40])
def test_a_rank_out_of_range_is_no_message(rank: int) -> None:
    fields = msgspec.structs.asdict(proof_of(SECRET, challenge())) | {"rank": rank}
    with pytest.raises(FrameError):
        decoded(msgspec.msgpack.encode(fields), Proof)
