"""What the server has for a client: its address, a model, what that can, a key. Not here: asking for it."""

from pathlib import Path
from typing import Any, Final

import msgspec

MLXR: Final = "mlxr"
"""What clients call the server."""

NO_KEY: Final = "none"
"""What is sent where no key is needed: most clients want some text."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """All that a client may have to be told.

    Attributes:
        url: Where the server answers, without a path and without a slash at its end.
        model: The name by which it is asked for: a model, an alias, `NAME@ENGINE` or `NAME+ADAPTER`.
        context_length: In force, tokens: of the load that serves it, or of the next one; None = unknown.
        max_context_length: What the model was made for, tokens; None = unknown.
        capabilities: completion, vision, tools, thinking, embedding.
        explains_tools: Whether its template has no place for tools, so that they are explained to it in words.
        aliases: All names of the model beside its own.
        catalogue: Codex's description of it, as `GET /v1/models` has it under `models`; None = Codex cannot use it.
        key: None = the server needs none.
        cert_file: Of the server's certificate, where the address is https.
        is_listed: Whether the client is to ask the server for its models as well.
    """

    url: str
    model: str
    context_length: int | None = None
    max_context_length: int | None = None
    capabilities: tuple[str, ...] = ("completion", "tools")
    explains_tools: bool = False
    aliases: tuple[str, ...] = ()
    catalogue: dict[str, Any] | None = None
    key: str | None = None
    cert_file: str | None = None
    is_listed: bool = False

    @property
    def openai_url(self) -> str:
        """Where OpenAI's API begins."""
        return f"{self.url}/v1"

    @property
    def sent_key(self) -> str:
        """What a client sends as its key."""
        return NO_KEY if self.key is None else self.key

    @property
    def sees(self) -> bool:
        """Whether it takes pictures."""
        return "vision" in self.capabilities

    @property
    def answer_room(self) -> int | None:
        """What clients that divide the context should leave for an answer, tokens."""
        return None if self.context_length is None else min(_MAX_ANSWER, self.context_length // _ANSWER_SHARE)


_MAX_ANSWER: Final = 16_384
_ANSWER_SHARE: Final = 4


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where clients keep their settings on this machine.

    Attributes:
        home: The user's.
        config: `XDG_CONFIG_HOME`, or `~/.config`.
        own: mlxr's folder for files that it makes for this client.
        is_mac: Whether this is macOS.
        environ: Variables by which clients look elsewhere.
    """

    home: Path
    config: Path
    own: Path
    is_mac: bool = False
    environ: dict[str, str] = {}

    def app_config(self, mac_name: str, name: str) -> Path:
        """Return the folder of a program that follows its platform, which on macOS may be called otherwise."""
        return self.home / "Library" / "Application Support" / mac_name if self.is_mac else self.config / name

    def named(self, variable: str, default: Path) -> Path:
        """Return the folder that a variable names, else the usual one."""
        given = self.environ.get(variable)
        return Path(given).expanduser() if given else default
