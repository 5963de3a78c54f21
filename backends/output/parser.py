"""Takes a chat answer apart while it is generated: reasoning, content, tool calls.

Rules:
    Thinking counts as such where it opens the content (only white space came before), and behind tool calls.
    New lines behind thinking, and up to 32 white space characters before its close tag, belong to the tags; so does
    white space on both sides of tool calls.
    Calls inside thinking are thinking.
    A call begins to come out when its name is known to be one of the tools and the beginning of its arguments is seen.
    What fails before that comes out as content, as it stands. What fails later ends the call: its arguments are closed
    so that they are a JSON object, and the text goes on as content.
    An answer that ends in the middle of a call leaves its arguments as they are; one that ends in the middle of the
    tag of a further call leaves that out.
"""

from collections.abc import Mapping
from typing import Any, Final

from backends.output.calls.base import CallReader, read_or_show
from backends.output.calls.harmony import HarmonyReader, HarmonySyntax
from backends.output.calls.json_objects import JsonCallReader, JsonSyntax
from backends.output.calls.literal import GemmaCallReader, GemmaSyntax, PythonicCallReader, PythonicSyntax
from backends.output.calls.named import MistralCallReader, MistralSyntax, SectionCallReader, SectionSyntax
from backends.output.calls.tagged import TaggedCallReader, TaggedSyntax
from backends.output.formats import OutputFormat, ReasoningTags
from backends.output.sink import CallsDoneError, Sink
from backends.output.source import SPACES, EndOfTextError, Reading, Source, Tags
from backends.wire.output import Output
from backends.wire.request import OutputSpec, ToolChoice

_LINE_ENDS = "\r\n"
_READERS: Final[Mapping[type, type[CallReader[Any]]]] = {
    JsonSyntax: JsonCallReader,
    MistralSyntax: MistralCallReader,
    SectionSyntax: SectionCallReader,
    TaggedSyntax: TaggedCallReader,
    PythonicSyntax: PythonicCallReader,
    GemmaSyntax: GemmaCallReader,
}
"""By the syntax that they read; harmony has a reader of its own for whole answers."""


def create_parser(fmt: OutputFormat, spec: OutputSpec, *, starts_in_reasoning: bool) -> "OutputParser":
    """Return a parser for one answer.

    Args:
        starts_in_reasoning: Whether the prompt left reasoning open; `fmt.thinking_after` tells.
    """
    use = spec.tools if spec.tools is not None and spec.tools.choice is not ToolChoice.NONE else None
    tools = {tool.name: tool.parameters for tool in use.tools} if use is not None else {}
    source = Source()
    said = {} if use is None else {tool.name: tool.said for tool in use.tools if tool.said is not None}
    sink = Sink(tools, is_parallel=use is None or use.is_parallel, said=said)
    if isinstance(fmt.tools, HarmonySyntax):
        harmony = HarmonyReader(source, sink, fmt.tools, splits_reasoning=spec.splits_reasoning, has_tools=bool(tools))
        return OutputParser(source, sink, harmony.read())
    calls = _READERS[type(fmt.tools)](source, sink, fmt.tools) if tools else None
    reader = _AnswerReader(source, sink, fmt, calls, splits_reasoning=spec.splits_reasoning)
    return OutputParser(source, sink, reader.read(starts_in_reasoning=starts_in_reasoning))


class OutputParser:
    """Takes the text of one answer apart; fed with pieces that may be cut anywhere, the result does not depend on cuts.

    Linear in its input: it never looks again at more than a tag's length of what it has seen.

    Args:
        reading: Pauses where it needs more text, and puts what it has read into the sink.

    Attributes:
        is_done: Whether the answer may end here, because nothing that comes could still be put out.
    """

    def __init__(self, source: Source, sink: Sink, reading: Reading[None]) -> None:
        self._source = source
        self._sink = sink
        self._reading = reading
        self.is_done = False
        self._resume()

    def push(self, text: str) -> Output:
        """Take over the next characters; return what is certain now."""
        if self.is_done:
            return Output()
        self._source.feed(text)
        self._resume()
        return self._sink.take()

    def flush(self) -> Output:
        """Return what was held back; the answer is over, perhaps in the middle of something."""
        self._source.end()
        if not self.is_done:
            self._resume()
        return self._sink.take()

    @property
    def has_tool_calls(self) -> bool:
        """Whether at least one tool call has come out."""
        return self._sink.num_calls > 0

    def _resume(self) -> None:
        try:
            next(self._reading)
        except (StopIteration, EndOfTextError, CallsDoneError):
            self.is_done = True


class _AnswerReader:
    """Reads answers whose parts stand between tags (all formats but harmony)."""

    def __init__(
        self, source: Source, sink: Sink, fmt: OutputFormat, calls: CallReader[Any] | None, *, splits_reasoning: bool
    ) -> None:
        self._source = source
        self._sink = sink
        self._calls = calls
        self._splits_reasoning = splits_reasoning
        self._reasoning = fmt.reasoning
        self._syntax_tags = fmt.tools.tags
        openers = calls.openers if calls else ()
        self._part_openers = Tags(fmt.reasoning.open if fmt.reasoning else "", *openers)
        self._call_openers = Tags(*openers)

    def read(self, *, starts_in_reasoning: bool) -> Reading[None]:
        """Read the whole answer: parts, and content between them."""
        dropped: str | None = ""
        if starts_in_reasoning and self._reasoning:
            dropped = yield from self._read_reasoning(self._reasoning)
        while True:
            # White space at the beginning of what follows a part may belong to that part.
            if dropped is not None:
                dropped = yield from self._read_opening(dropped)
            else:
                dropped = yield from self._read_content()

    def _read_opening(self, dropped: str) -> Reading[str | None]:
        """Read the part that comes next, if one does.

        Returns:
            What is dropped directly behind the part; None = content goes on.
        """
        if not self._part_openers.texts and self._calls is None:
            return None
        self._source.start_record()
        try:
            char = yield from self._source.spaces()
            opener = yield from self._source.accept(self._part_openers)
        except EndOfTextError:
            self._source.take_rest()
            rest = self._source.take_record().lstrip(dropped)
            if not (self._sink.num_calls and self._begins_call(rest)):
                self._sink.put_text(rest)
            raise
        finally:
            head = self._source.stop_record().lstrip(dropped)
        if opener and self._reasoning and opener == self._reasoning.open:
            if not self._splits_reasoning:
                self._sink.put_text(head)
            return (yield from self._read_reasoning(self._reasoning))
        if self._calls and (opener or char == self._calls.bare_opener):
            return (yield from self._read_calls(self._calls, head))
        self._sink.put_text(head)
        return None

    def _begins_call(self, text: str) -> bool:
        """Return whether a text is the beginning of what opens calls."""
        text = text.strip(SPACES)
        return any(opener.startswith(text) for opener in self._call_openers.texts)

    def _read_content(self) -> Reading[str | None]:
        """Read content up to the next call; return as `_read_opening` does."""
        trimmed = SPACES if self._calls else ""
        head = yield from self._source.until(self._call_openers, self._sink.put_text, trimmed=trimmed)
        assert self._calls is not None
        return (yield from self._read_calls(self._calls, head))

    def _read_reasoning(self, tags: ReasoningTags) -> Reading[str]:
        """Read thinking behind its open tag."""
        close = Tags(tags.close)
        if not self._splits_reasoning:
            self._sink.put_text((yield from self._source.until(close, self._sink.put_text)))
            return ""
        while (yield from self._source.peek()) in _LINE_ENDS:
            self._source.skip(1)
        yield from self._source.until(close, self._sink.put_reasoning, trimmed=SPACES)
        return _LINE_ENDS

    def _read_calls(self, calls: CallReader[Any], head: str) -> Reading[str | None]:
        """Read calls behind `head`, which opened them; return as `_read_opening` does."""
        if (yield from read_or_show(self._source, self._sink, head, calls.read(), self._is_syntax)):
            return SPACES
        if self._sink.num_calls and not self._sink.is_parallel:  # the only one has come
            self._calls = None
            self._call_openers = Tags()
        return None

    def _is_syntax(self, text: str) -> bool:
        """Return whether the end of an answer behind a complete call is the beginning of what closes it."""
        text = text.strip(SPACES + "}],;`")
        return any(tag.startswith(text) for tag in self._syntax_tags)
