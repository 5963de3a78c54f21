"""What an upstream of OpenAI's protocol sends, as the messages that a worker would send. Without I/O.

Whatever comes, an answer has one end: `Finished` when it says why it ended, else an error of ours.

Source: OpenAI API reference, "The chat completion chunk object"; vLLM and llama-server for `reasoning_content` and
`reasoning`; a tool call's fragments have an index, which some servers leave out.
"""

import secrets
from typing import Any, Final

import msgspec

from backends.wire.messages import SequenceEnd, SequenceTimings, Usage
from backends.wire.output import FinishReason, Output, PositionLogprobs, TokenLogprob, ToolCallDelta
from router.errors import UpstreamError

DONE: Final = b"[DONE]"
MAX_QUOTED_CHARS: Final = 300
_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "eos": "stop",
}


class Answer:
    """One answer as it comes.

    Args:
        said: What the client calls tools by, where that is not what the upstream is shown.

    Attributes:
        has_output: Whether anything of the answer has come.
        is_settled: Whether it was told what came of it.
        is_cut: Whether it has ended without a reason for its end.
        num_chunks: Pieces of it that have come.
        progress: Tokens of the prompt that are evaluated, all of them, and those that had not to be; None = no news.
        timings: Where its time went there; None = it does not say.
        first_token_s: From the request to the first of it, seconds; None = nothing has come. `decode_s` is from there.
        usage: Tokens as the upstream has counted them; None = it has not said.
    """

    def __init__(self, said: dict[str, str] | None = None) -> None:
        self.has_output = False
        self.is_settled = False
        self.is_cut = False
        self.num_chunks = 0
        self.usage: Usage | None = None
        self.progress: tuple[int, int, int] | None = None
        self.timings: SequenceTimings | None = None
        self.first_token_s: float | None = None
        self.decode_s = 0.0
        self._said = said or {}
        self._reason: str | None = None
        self._is_done = False
        self._arguments: dict[int, list[str]] = {}
        self._call_ids: dict[str, int] = {}

    @property
    def is_done(self) -> bool:
        """Whether the upstream has said that nothing more comes."""
        return self._is_done

    def take(self, data: bytes) -> Output | None:
        """Take what one event carries; return what it adds to the answer, None = nothing.

        Raises:
            UpstreamError: It is no chunk, or tells of an error.
        """
        if data == DONE:
            self._is_done = True
            return None
        try:
            chunk = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UpstreamError("it has sent what is no JSON in the middle of the answer") from None
        try:
            return self._chunk(chunk)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError):
            raise UpstreamError("it has sent a chunk that is none of the protocol's") from None

    def whole(self, data: bytes) -> Output | None:
        """Take an answer that came as one piece, though a stream was asked for; errors as of `take`."""
        output = self.take(data)
        self._is_done = True
        return output

    def end(self, timings: SequenceTimings) -> SequenceEnd:
        """Return how the answer ended, once nothing more comes.

        Raises:
            UpstreamError: It has not come to its end.
        """
        if self._reason is None:
            self.is_cut = True
            raise UpstreamError("it has ended the stream in the middle of the answer")
        reason = _REASONS.get(self._reason)
        if reason is None:
            raise UpstreamError(f"it has ended the answer for the reason {self._reason!r:.60}")
        for parts in self._arguments.values():
            _check_arguments("".join(parts), reason)
        if self._arguments and reason == "stop":
            reason = "tool_calls"
        return SequenceEnd(reason, self.usage or Usage(0, 0, self.num_chunks), self.timings or timings)

    def _chunk(self, chunk: Any) -> Output | None:
        if chunk.get("error"):
            raise UpstreamError(f"it has sent an error: {words_of(chunk)}")
        if usage := chunk.get("usage"):
            self.usage = _usage(usage)
        if told := chunk.get("prompt_progress"):
            self.progress = _count(told["processed"]), _count(told["total"]), _count(told.get("cache"))
        if (told := chunk.get("timings")) and "queue_ms" in told:  # mlxr's; others leave the network out
            waited_ms = float(told["queue_ms"]) + float(told.get("load_ms") or 0.0)
            self.timings = SequenceTimings(waited_ms, float(told["prompt_ms"]), float(told["predicted_ms"]))
        choices = chunk.get("choices") or ()
        if not choices:
            return None
        choice = choices[0]
        self._reason = choice.get("finish_reason") or self._reason
        output = self._output(choice)
        if output is None:
            return None
        self.has_output = True
        self.num_chunks += 1
        return output

    def _output(self, choice: dict[str, Any]) -> Output | None:
        delta = choice.get("delta") or choice.get("message") or {}
        text = delta.get("content") or choice.get("text") or ""
        reasoning = delta.get("reasoning_content") or delta.get("reasoning") or ""
        if not isinstance(text, str) or not isinstance(reasoning, str):
            raise TypeError
        calls = tuple(self._call(call) for call in delta.get("tool_calls") or ())
        logprobs = _logprobs(choice.get("logprobs"))
        if not (text or reasoning or calls or logprobs):
            return None
        return Output(text, reasoning, calls, logprobs)

    def _call(self, call: dict[str, Any]) -> ToolCallDelta:
        function = call.get("function") or {}
        index = self._index(call)
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        if index in self._arguments:
            self._arguments[index].append(arguments)
            return ToolCallDelta(index, arguments=arguments)
        self._arguments[index] = [arguments]
        name = function["name"]
        call_id = call.get("id") or f"call_{secrets.token_hex(12)}"
        return ToolCallDelta(index, str(call_id), self._said.get(name, str(name)), arguments)

    def _index(self, call: dict[str, Any]) -> int:
        """Return which call a fragment belongs to; without an index, a new id or a name begins another one."""
        index = call.get("index")
        if isinstance(index, int):
            return index
        call_id = call.get("id")
        if call_id in self._call_ids:
            return self._call_ids[call_id]
        is_new = bool(call_id or (call.get("function") or {}).get("name"))
        number = len(self._arguments) if is_new else max(self._arguments, default=0)
        if call_id:
            self._call_ids[call_id] = number
        return number


def _check_arguments(text: str, reason: FinishReason) -> None:
    """Refuse a call that nobody could make; one that the answer's bound cut is told as it is."""
    if reason == "length":
        return
    try:
        is_object = isinstance(msgspec.json.decode(text or "{}"), dict)
    except msgspec.DecodeError:
        is_object = False
    if not is_object:
        raise UpstreamError("it has called a tool with arguments that are no JSON object")


def _usage(usage: dict[str, Any]) -> Usage:
    prompt = usage.get("prompt_tokens_details") or {}
    output = usage.get("completion_tokens_details") or {}
    return Usage(
        num_prompt_tokens=_count(usage.get("prompt_tokens")),
        num_cached_tokens=min(_count(prompt.get("cached_tokens")), _count(usage.get("prompt_tokens"))),
        num_output_tokens=_count(usage.get("completion_tokens")),
        num_reasoning_tokens=min(_count(output.get("reasoning_tokens")), _count(usage.get("completion_tokens"))),
    )


def _count(value: Any) -> int:
    return max(0, int(value or 0))


def _logprobs(said: Any) -> tuple[PositionLogprobs, ...]:
    """Return how likely tokens were, by either form; their ids are not told, so they have none."""
    if not said:
        return ()
    if "content" in said:
        return tuple(
            PositionLogprobs(_token(each), tuple(_token(top) for top in each.get("top_logprobs") or ()))
            for each in said["content"] or ()
        )
    tokens, scores = said.get("tokens") or (), said.get("token_logprobs") or ()
    tops = said.get("top_logprobs") or [None] * len(tokens)
    return tuple(
        PositionLogprobs(
            TokenLogprob(0, token.encode(), float(score or 0.0)),
            tuple(TokenLogprob(0, text.encode(), float(value)) for text, value in (top or {}).items()),
        )
        for token, score, top in zip(tokens, scores, tops, strict=False)
    )


def _token(said: dict[str, Any]) -> TokenLogprob:
    told = said.get("bytes")
    piece = bytes(told) if told is not None else said["token"].encode("utf-8", "replace")
    return TokenLogprob(int(said.get("id") or said.get("token_id") or 0), piece, float(said["logprob"]))


def words_of(body: Any) -> str:
    """Return what an error's body says to people, in one line of bounded length."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    if isinstance(body, dict) and "error" not in body and "detail" in body:
        error = body["detail"]
    text = error if isinstance(error, str) else msgspec.json.encode(error).decode()
    return " ".join(text.split())[:MAX_QUOTED_CHARS]
