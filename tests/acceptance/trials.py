"""The clients that `make agents` tries: where each comes from, how it is called, and the dialogue that it is given.

All of them read a file with a word and write it into another; which of their tools do that, the rows say. What they
would ask of other servers is turned off by their own settings, beside there being no network.
"""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

Api = Literal["/v1/messages", "/v1/responses", "/v1/chat/completions"]


class Task(NamedTuple):
    """What one client is to do.

    Attributes:
        word: Random; `source` holds it and a line feed, `target` is to hold the same.
    """

    word: str
    source: Path
    target: Path

    @property
    def wish(self) -> str:
        """What the client is asked for."""
        return f"Read the file {self.source.name} and write exactly its content into the new file {self.target.name}."


Dialogue = list[tuple[str, str]]
"""Pairs of what a prompt has and what is answered, those first that stand first: the last turn's comes first."""


class Trial(NamedTuple):
    """One client.

    Attributes:
        name: As `mlxr launch` knows it.
        package: Of npm, or of PyPI.
        program: That the package brings.
        arguments: Behind what `mlxr launch` gives it.
        is_started: Whether `mlxr launch` starts it; else it is set up by that and started here.
        settings: Variables that keep it from looking for updates and the like.
        num_calls: Of tools, that it has to answer.
        before: What is prepared in its folder.
    """

    name: str
    registry: Literal["npm", "pypi"]
    package: str
    program: str
    api: Api
    arguments: Callable[[Task], list[str]]
    dialogue: Callable[[Task], Dialogue]
    is_started: bool = True
    settings: Mapping[str, str] = {}
    num_calls: int = 2
    before: Callable[[Task], None] | None = None


def called(name: str, **arguments: Any) -> str:
    """Write a call as models do that were told of tools in words."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def two_calls(task: Task, read: tuple[str, dict[str, Any]], write: tuple[str, dict[str, Any]]) -> Dialogue:
    """Return the dialogue of one call that reads, one that writes what was read, and a last word."""
    return [
        (f'<tool_call>\n{{"name": "{write[0]}"', f"Done: {task.target.name} is written."),
        (task.word, called(write[0], **write[1])),
        (task.source.name, called(read[0], **read[1])),
    ]


def _with_tools(read: str, write: str, path: str, content: str = "content") -> Callable[[Task], Dialogue]:
    """Return the dialogue for tools that take an absolute path, and for writing also the content."""
    return lambda task: two_calls(
        task,
        (read, {path: str(task.source)}),
        (write, {path: str(task.target), content: f"{task.word}\n"}),
    )


def _codex_dialogue(task: Task) -> Dialogue:
    patch = f"*** Begin Patch\n*** Add File: {task.target.name}\n+{task.word}\n*** End Patch\n"
    return two_calls(task, ("exec_command", {"cmd": f"cat {task.source.name}"}), ("apply_patch", {"input": patch}))


def _aider_dialogue(task: Task) -> Dialogue:
    file = f"{task.target.name}\n```\n{task.word}\n```\n"
    return [(task.word, f"I copy the word.\n\n{file}"), (task.source.name, f"I have to see {task.source.name} first.")]


def _make_repository(task: Task) -> None:
    name = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["add", task.source.name], [*name, "commit", "-q", "-m", "The word"]):
        subprocess.run(["git", *words], cwd=task.source.parent, check=True)


_LLM_TOOLS: Final = """\
def read_file(path: str) -> str:
    "Read a file."
    return open(path).read()

def write_file(path: str, content: str) -> str:
    "Write a file."
    open(path, "w").write(content)
    return "written"
"""


def _put_llm_tools(task: Task) -> None:
    (task.source.parent / "tools.py").write_text(_LLM_TOOLS)


TRIALS: Final = (
    Trial(
        name="claude",
        registry="npm",
        package="@anthropic-ai/claude-code",
        program="claude",
        api="/v1/messages",
        arguments=lambda task: ["-p", task.wish, "--permission-mode", "acceptEdits", "--allowedTools", "Read", "Write"],
        dialogue=_with_tools("Read", "Write", "file_path"),
        settings={"DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1", "DISABLE_ERROR_REPORTING": "1"},
    ),
    Trial(
        name="codex",
        registry="npm",
        package="@openai/codex",
        program="codex",
        api="/v1/responses",
        arguments=lambda task: [
            *("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"),
            *("-c", "check_for_update_on_startup=false", "-c", "analytics.enabled=false", task.wish),
        ],
        dialogue=_codex_dialogue,
    ),
    Trial(
        name="opencode",
        registry="npm",
        package="opencode-ai",
        program="opencode",
        api="/v1/chat/completions",
        arguments=lambda task: ["run", task.wish],
        dialogue=_with_tools("read", "write", "filePath"),
        settings={
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_SHARE": "1",
        },
    ),
    Trial(
        name="qwen-code",
        registry="npm",
        package="@qwen-code/qwen-code",
        program="qwen",
        api="/v1/chat/completions",
        arguments=lambda task: ["--approval-mode", "yolo", task.wish],
        dialogue=_with_tools("read_file", "write_file", "file_path"),
        settings={"QWEN_TELEMETRY_ENABLED": "false"},
    ),
    Trial(
        name="aider",
        registry="pypi",
        package="aider-chat",
        program="aider",
        api="/v1/chat/completions",
        arguments=lambda task: [
            *("--yes-always", "--no-check-update", "--no-show-release-notes", "--analytics-disable", "--no-gitignore"),
            *("--no-show-model-warnings", "--edit-format", "whole", "--message", task.wish),
        ],
        dialogue=_aider_dialogue,
        num_calls=0,
        before=_make_repository,
    ),
    Trial(
        name="llm",
        registry="pypi",
        package="llm",
        program="llm",
        api="/v1/chat/completions",
        arguments=lambda task: ["--functions", "tools.py", task.wish],
        dialogue=_with_tools("read_file", "write_file", "path"),
        before=_put_llm_tools,
    ),
    Trial(
        name="cline",
        registry="npm",
        package="cline",
        program="cline",
        api="/v1/chat/completions",
        arguments=lambda task: ["--provider", "openai-compatible", "--model", "coder", task.wish],
        dialogue=_with_tools("read_files", "editor", "path", "new_text"),
        is_started=False,
        settings={"CLINE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1"},
    ),
    Trial(
        name="continue",
        registry="npm",
        package="@continuedev/cli",
        program="cn",
        api="/v1/chat/completions",
        arguments=lambda task: ["-p", task.wish, "--auto"],
        dialogue=_with_tools("Read", "Write", "filepath"),
        is_started=False,
        settings={"CONTINUE_TELEMETRY_ENABLED": "0"},
    ),
)
