"""How programs are started on other hosts: ssh without questions, and no text of the config for a shell."""

import shlex
from collections.abc import Sequence
from typing import Final

SSH_OPTIONS: Final = (
    "-T",
    *("-o", "BatchMode=yes"),  # a question for a password would wait for ever
    *("-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
    *("-o", "ForwardAgent=no", "-o", "ForwardX11=no", "-o", "ClearAllForwardings=yes"),
)
EXIT_UNREACHABLE: Final = 255
"""Source: ssh(1): "exits with the exit status of the remote command or with 255 if an error occurred"."""


def ssh_argv(name: str, command: Sequence[str]) -> list[str]:
    """Return what runs a command on a host.

    Args:
        name: Checked by `registry.hosts`: no option, no white space.
        command: Nothing that somebody else wrote: ssh hands it to the other side's shell as one text.
    """
    return ["ssh", *SSH_OPTIONS, "--", name, shlex.join(command)]
