"""What a service is to run, for any service manager. Not here: how each writes it down."""

from collections.abc import Mapping
from pathlib import Path

import msgspec


class ServicePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The server as a service.

    Attributes:
        argv: The command, absolute.
        environment: Beside what the manager itself gives.
        secrets_file: `NAME=VALUE` lines that the user may write, for this user's eyes only; may be missing.
        output_file: Where stdout and stderr go, where the manager keeps no journal.
        ending_s: What an end in order may take.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    secrets_file: Path
    output_file: Path
    ending_s: float
