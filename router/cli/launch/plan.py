"""What a client needs: one declared row per client, and what its row plans for an offer. Pure."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from router.cli.launch.offer import Offer, Places
from router.cli.launch.texts.edits import Edit, Format, edited
from router.cli.launch.texts.errors import TextError


class FileChange(msgspec.Struct, frozen=True):
    """Changes of a settings file that may be the user's; with the rest of it they stay."""

    path: Path
    form: Format
    edits: tuple[Edit, ...]

    def content(self, old: bytes | None) -> bytes:
        """Return what the file is to hold; None = it is not there.

        Raises:
            TextError: It cannot be read, or not be changed as it is written.
        """
        try:
            text = "" if old is None else old.decode()
        except UnicodeDecodeError as exc:
            raise TextError("it is not UTF-8 text") from exc
        return edited(text, self.form, self.edits).encode()


class OwnFile(msgspec.Struct, frozen=True):
    """A file that is mlxr's own, whole."""

    path: Path
    data: bytes

    def content(self, old: bytes | None) -> bytes:
        """Return what it is to hold, whatever is there."""
        del old
        return self.data


Change = FileChange | OwnFile


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done for one client.

    Attributes:
        environment: Variables that the program is started with; None = without it.
        arguments: Of its command line, before the user's own.
        bare_arguments: Behind those where the user gives none.
        steps: What the user does in the program itself, one sentence each.
    """

    files: tuple[Change, ...] = ()
    environment: Mapping[str, str | None] = {}
    arguments: tuple[str, ...] = ()
    bare_arguments: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    def command_line(self, given: Sequence[str] = ()) -> list[str]:
        """Return the arguments to start the program with."""
        return [*self.arguments, *(given or self.bare_arguments)]


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """One client.

    Attributes:
        name: By which `mlxr launch` knows it.
        api: That it speaks to the server.
        plan: What it needs.
        command: To start, of a terminal program; None = it has windows of its own and is not started.
        programs: By one of which it is known to be installed, where it has no command.
        install: How one gets it, a command or a few words.
        wants_tools: Whether it is of no use with a model that has no chat template.
        first_prompt: What it says before the user has said anything, tokens about: of the requests that `make agents`
            records, a token for four characters. None = nothing to speak of.
        wanted_context: That it works well with, tokens; None = any.
        keeps_key: Whether the plan puts the key where the client finds it; else the user gives it one.
        lists: How names of models begin that the client lists by itself; None = it lists whatever there is.
    """

    name: str
    title: str
    api: Literal["Messages", "Responses", "Chat Completions"]
    plan: Callable[[Offer, Places], Plan]
    command: str | None = None
    programs: tuple[str, ...] = ()
    install: str
    wants_tools: bool = True
    first_prompt: int | None = None
    wanted_context: int | None = 65_536
    keeps_key: bool = True
    lists: str | None = None


def present(paths: Sequence[Path]) -> Path:
    """Return the first of these files that is there, else the first."""
    return next((path for path in paths if path.exists()), paths[0])
