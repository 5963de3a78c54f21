"""Hosts that a model is spread over, as users write them: `local`, `local=10.0.0.1`, `mac2=10.0.0.2`. Pure.

The first is this machine. Behind the equals sign is the IPv4 address at which the others reach it, behind a slash its
RDMA device towards each host in order, `-` towards itself: `mac2=10.0.0.2/rdma_en2:-`.
"""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

LOCAL: Final = "local"
LOOPBACK: Final = "127.0.0.1"
MAX_HOSTS: Final = 64

_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_DEVICE: Final = "(?:-|[a-z][a-z0-9_]{0,30})"
# Neither may begin with a dash: ssh would take it for an option.
_NAME: Final = "(?:[a-z_][a-z0-9_-]{0,31}@)?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})"
HOST_PATTERN: Final = rf"^{_NAME}(?:={_OCTET}(?:\.{_OCTET}){{3}})?(?:/{_DEVICE}(?::{_DEVICE})*)?$(?!\n)"
HOST_WORDS: Final = "hosts such as local or mac2=10.0.0.2: what ssh calls it, and its IPv4 address"

HostWord = Annotated[str, Meta(pattern=HOST_PATTERN, max_length=512, description=HOST_WORDS)]
"""A host as users write it."""


class Host(msgspec.Struct, frozen=True):
    """A host.

    Attributes:
        ssh: What ssh calls it; None = this machine.
        address: None = it was not said.
        devices: RDMA devices towards all hosts, None towards itself; () = none were said.
    """

    ssh: str | None
    address: str | None = None
    devices: tuple[str | None, ...] = ()


def host_of(word: str) -> Host:
    """Read a word that HOST_PATTERN has let pass."""
    rest, _, devices = word.partition("/")
    name, _, address = rest.partition("=")
    return Host(
        None if name == LOCAL else name,
        address or None,
        tuple(None if device == "-" else device for device in devices.split(":")) if devices else (),
    )


def why_no_group(words: Sequence[str]) -> str | None:
    """Return why ranks on these hosts could not find each other; None = nothing speaks against it."""
    hosts = [host_of(word) for word in words]
    if hosts[0].ssh is not None:
        return "the first host is this machine: begin with local, or local=ADDRESS"
    is_remote = any(host.ssh is not None for host in hosts)
    for word, host in zip(words, hosts, strict=True):
        if is_remote and host.address is None:
            return f"{word}: give the address at which the other hosts reach it, {word.partition('/')[0]}=ADDRESS"
        if host.ssh is not None and host.address is not None and host.address.startswith("127."):
            return f"{word}: {host.address} is nobody else's address"
        if host.devices and len(host.devices) != len(hosts):
            return f"{word}: it names {len(host.devices)} RDMA devices; one towards each of the {len(hosts)} hosts"
    return None
