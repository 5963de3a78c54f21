"""Workers that do not keep to the protocol: `python -m tests.support.rogue_worker FD MODE`."""

import os
import socket
import struct
import subprocess
import sys

from backends.version import VERSION
from backends.wire.channel import Channel
from backends.wire.load import LoadedModel
from backends.wire.messages import Generate, Hello, Load, Loaded

_MODEL = LoadedModel(context_length=64, max_sequences=4, kv_cells=64, vocab_size=4, devices=())


def main(fd: int, mode: str) -> int:
    sock = socket.socket(fileno=fd)
    channel = Channel(sock)
    if mode == "garbage at once":
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 1000)
    if mode == "dies at once":
        sys.exit(6)
    channel.send([Hello("fake", {}, mode, 0.0, version="99.0" if mode == "another version" else VERSION)])
    while True:
        for command in channel.receive(None):
            if isinstance(command, Load):
                channel.send([Loaded(_MODEL)])
            if isinstance(command, Generate):
                misbehave(sock, mode)


def misbehave(sock: socket.socket, mode: str) -> None:
    match mode:
        case "garbage":
            sock.sendall(struct.pack(">I", 5) + b"\xc1\xc1\xc1\xc1\xc1")
        case "huge frame":
            sock.sendall(struct.pack(">I", 2**31))
        case "half frame":
            sock.sendall(struct.pack(">I", 100) + b"half")
            sys.exit(3)
        case "flood":
            os.write(2, b"x" * (8 << 20) + b"\nlast words\n")
            sys.exit(4)
        case _:
            # The rest is a path: leave a child behind that holds the worker's pipes open until it exists.
            wait = f"until test -e '{mode}'; do sleep 0.05; done"
            subprocess.Popen(["sh", "-c", wait], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, close_fds=False)
            sys.exit(5)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
