"""What Codex CLI reads of models in `GET /v1/models`, which guesses their contexts otherwise. Pure.

It wants the instructions that a model works best by, and refuses the whole list without: those here are short, for the
contexts of local models. What is left out has the value that it takes for unknown models. Source: Codex CLI 0.171,
codex-rs/protocol/src/openai_models.rs, `ModelInfo`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

from registry.catalogue import Model
from router.protocols.answers import AnswerBody

if TYPE_CHECKING:
    from router.protocols.abilities import Abilities  # it brings the HTTP framework, and clients read these answers

_INSTRUCTIONS: Final = """\
You are a coding agent in Codex CLI, a program in the user's terminal. You and the user share one folder of files.

Work on what the user asks until it is done, by calling the tools that you are given; do not stop to describe what you \
would do. Where something is unclear, look into the files instead of guessing, and ask only where they cannot tell.

- Read before you write: find files with `rg --files` or `ls`, search with `rg` or `grep`, and look at what you change.
- Change files with the tool apply_patch where it is there, otherwise with a command. A patch begins with \
`*** Begin Patch` and ends with `*** End Patch`. Between them stand `*** Add File: PATH` with every line of the file \
after a `+`; `*** Delete File: PATH`; or `*** Update File: PATH` with hunks: `@@` and perhaps the line that they stand \
under, then lines that stay after a blank, lines that go after a `-`, lines that come after a `+`. Paths are relative.
- Keep to what was asked and to the style that you find. Leave alone what others have changed, and commit nothing \
unless you are asked to.
- When you have changed code, run what checks it, if there is something and it does not take long.
- A command that fails says why: read it, change what is wrong, and try again.

At the end say in a few sentences what you did, with the paths of the files, and what is left to do. Write plain text.
"""
_EFFORTS: Final = {
    "low": "Think a little.",
    "medium": "Think as much as the model usually does.",
    "high": "Think as much as it takes.",
}
_MAX_OUTPUT_TOKENS: Final = 10_000
"""What Codex lets a tool's output have of models with long contexts."""
_OUTPUT_SHARE: Final = 4


class ReasoningLevel(AnswerBody, frozen=True):
    """How much a model can be asked to think."""

    effort: Literal["low", "medium", "high"]
    description: str


class Truncation(AnswerBody, frozen=True):
    """How much of a tool's output is shown to the model."""

    mode: Literal["tokens"]
    limit: int


class CodexModel(AnswerBody, frozen=True, kw_only=True):
    """One model, or one with an adapter over it."""

    slug: str
    display_name: str
    description: str | None
    default_reasoning_level: Literal["medium"] | None
    supported_reasoning_levels: list[ReasoningLevel]
    supports_reasoning_summary_parameter: bool = False
    default_reasoning_summary: Literal["none"] = "none"
    base_instructions: str = _INSTRUCTIONS
    shell_type: Literal["unified_exec"] = "unified_exec"
    apply_patch_tool_type: Literal["freeform"] = "freeform"
    supports_parallel_tool_calls: bool = True
    visibility: Literal["list"] = "list"
    supported_in_api: bool = True
    priority: int
    availability_nux: None = None
    upgrade: None = None
    support_verbosity: bool = False
    default_verbosity: None = None
    truncation_policy: Truncation
    context_window: int | None
    max_context_window: int | None
    input_modalities: list[Literal["text", "image"]]
    experimental_supported_tools: list[str]
    supports_search_tool: bool = False


def codex_models(found: Sequence[tuple[Model, "Abilities"]]) -> list[CodexModel]:
    """Return what Codex can work with, by every name that requests may use."""
    chats = [(model, abilities) for model, abilities in found if "tools" in abilities.can]
    return [
        _described(name, model, abilities, priority)
        for priority, (model, abilities) in enumerate(chats)
        for base in (model.name, *model.aliases)
        for name in (base, *(f"{base}+{adapter}" for adapter in model.adapter_names))
    ]


def _described(name: str, model: Model, abilities: "Abilities", priority: int) -> CodexModel:
    thinks = "thinking" in abilities.can
    context = abilities.context_length
    return CodexModel(
        slug=name,
        display_name=name,
        description=None if name == model.name else f"The model {model.name} by another name.",
        default_reasoning_level="medium" if thinks else None,
        supported_reasoning_levels=[
            ReasoningLevel(effort, what)  # type: ignore[arg-type]  # the keys are literals
            for effort, what in (_EFFORTS.items() if thinks else ())
        ],
        priority=priority,
        truncation_policy=Truncation(
            "tokens", _MAX_OUTPUT_TOKENS if context is None else min(_MAX_OUTPUT_TOKENS, context // _OUTPUT_SHARE)
        ),
        context_window=context,
        max_context_window=context,
        input_modalities=abilities.inputs,
        experimental_supported_tools=[],
    )
