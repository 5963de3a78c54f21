"""Whole answers of the OpenAI API, and the parts that they share with streams. No I/O.

Source: OpenAI API reference, "The chat completion object" and "The completion object"; for `timings`, llama.cpp's
tools/server (server-task.cpp, `result_timings::to_json`).
"""

import codecs
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from backends.wire.messages import SequenceEnd
from backends.wire.output import PositionLogprobs, PromptToken, TokenLogprob
from router.protocols.answers import CachedTokens, ReasoningTokens
from router.protocols.fields.context import context_of
from router.protocols.fields.logprobs import number_of, position_logprobs, token_text
from router.protocols.fields.ranges import ServiceTier
from router.protocols.images.seen import seen_images
from router.protocols.openai import answer_schemas as answers
from router.requests.collected import CollectedOutput
from router.requests.generation import Generation


class CompletionHead(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer and all chunks of one chat or text completion share.

    Attributes:
        answer_id: `chatcmpl-…` or `cmpl-…`.
        created: Seconds since 1970.
        service_tier: By which it was scheduled; None = the client did not ask.
    """

    answer_id: str
    created: int
    model: str
    is_chat: bool
    service_tier: ServiceTier | None = None

    @classmethod
    def new(cls, model: str, *, is_chat: bool, service_tier: ServiceTier | None = None) -> "CompletionHead":
        """Return a head with a fresh id and the current time."""
        prefix = "chatcmpl-" if is_chat else "cmpl-"
        return cls(
            answer_id=prefix + secrets.token_hex(12),
            created=int(time.time()),
            model=model,
            is_chat=is_chat,
            service_tier=service_tier,
        )

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the objects that have them."""
        return {
            "id": self.answer_id,
            "created": self.created,
            "model": self.model,
            "service_tier": UNSET if self.service_tier is None else self.service_tier,
        }


class TextLogprobsWriter:
    """Writes the `logprobs` of one choice of a text completion, whose offsets run through all of its chunks.

    Args:
        num_top: How many of the likeliest tokens are wanted at a place of the prompt.
    """

    def __init__(self, num_top: int = 0) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._num_chars = 0
        self._num_top = num_top

    def write(self, positions: Iterable[PositionLogprobs], prompt: Iterable[PromptToken] = ()) -> answers.TextLogprobs:
        """Return the object for the next tokens, those of a prompt that is echoed first."""
        shown = answers.TextLogprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
        for token in prompt:
            if token.logprob is None:
                self._add(shown, token.piece, None, None)
            else:
                drawn = TokenLogprob(token.token_id, token.piece, token.logprob)
                self._add(shown, token.piece, number_of(drawn), _by_text((drawn, *token.top[: self._num_top])))
        for position in positions:
            drawn = position.drawn
            # "there may be up to logprobs+1 elements in the response": the drawn token is always among them.
            self._add(shown, drawn.piece, number_of(drawn), _by_text((drawn, *position.top)))
        return shown

    def _add(
        self, shown: answers.TextLogprobs, piece: bytes, logprob: float | None, top: dict[str, float] | None
    ) -> None:
        shown.tokens.append(token_text(piece))
        shown.token_logprobs.append(logprob)
        shown.top_logprobs.append(top)
        shown.text_offset.append(self._num_chars)
        self._num_chars += len(self._decoder.decode(piece))


def _by_text(tokens: Iterable[TokenLogprob]) -> dict[str, float]:
    return {token_text(token.piece): number_of(token) for token in tokens}


def prompt_logprobs(tokens: Iterable[PromptToken], num_top: int) -> answers.PromptLogprobs:
    """Return vLLM's `prompt_logprobs`."""
    shown: answers.PromptLogprobs = []
    for token in tokens:
        if token.logprob is None or token.rank is None:
            shown.append(None)
            continue
        own = TokenLogprob(token.token_id, token.piece, token.logprob)
        ranked = [(token.rank, own), *enumerate(token.top[:num_top], 1)]
        found: dict[str, answers.PromptLogprob] = {}
        for rank, each in ranked:
            text = token_text(each.piece)
            found.setdefault(str(each.token_id), answers.PromptLogprob(number_of(each), rank, text))
        shown.append(found)
    return shown


def chat_logprobs(positions: Iterable[PositionLogprobs]) -> answers.ChatLogprobs:
    """Return the `logprobs` of a chat's choice."""
    return answers.ChatLogprobs(content=position_logprobs(positions), refusal=None)


class PromptParts(msgspec.Struct, frozen=True):
    """What an answer has of its prompt, and of its own tokens.

    Attributes:
        num_logprobs: How many of the likeliest tokens at each place of the prompt; None = none, nor the prompt's own.
        has_token_ids: Whether the ids of prompt and answer are there.
    """

    num_logprobs: int | None = None
    has_token_ids: bool = False

    def of_answer(self, end: SequenceEnd) -> dict[str, Any]:
        """Return the field of the answer's tokens."""
        return {"token_ids": token_ids(end)[1]} if self.has_token_ids else {}

    def of_prompt(self, output: CollectedOutput) -> dict[str, Any]:
        """Return the fields of the prompt."""
        fields: dict[str, Any] = {}
        if self.num_logprobs is not None:
            fields["prompt_logprobs"] = prompt_logprobs(output.prompt, self.num_logprobs)
        if self.has_token_ids:
            fields["prompt_token_ids"] = token_ids(output.end)[0]
        return fields


NOTHING_MORE: Final = PromptParts()


def token_ids(end: SequenceEnd) -> tuple[list[int], list[int]]:
    """Return the ids of the prompt and of the answer."""
    ids, num_prompt = end.token_ids or [], end.usage.num_prompt_tokens
    return ids[:num_prompt], ids[num_prompt:]


def completion_of(
    head: CompletionHead,
    generation: Generation,
    outputs: Sequence[CollectedOutput],
    wanted: PromptParts = NOTHING_MORE,
) -> answers.ChatCompletion | answers.TextCompletion:
    """Return an answer that is not streamed.

    Args:
        outputs: Per sequence; all have ended. The first one to a prompt tells of it.

    Raises:
        EngineCrashedError: One has not.
    """
    request = generation.request
    ends = [output.end for output in outputs]
    firsts = [outputs[index - index % request.num_choices] for index in range(len(outputs))]
    num_logprobs = request.spec.sampling.num_logprobs
    has_logprobs = num_logprobs is not None
    shared = {
        **head.fields,
        "usage": usage_of(ends, request.num_choices),
        "timings": timings_of(ends, generation, request.num_choices),
        "mlxr": seen_images(ends[:: request.num_choices]),
    }
    if head.is_chat:
        return answers.ChatCompletion(
            object="chat.completion",
            choices=[
                answers.ChatChoice(
                    index=index,
                    message=_message(output),
                    logprobs=chat_logprobs(output.logprobs) if has_logprobs else None,
                    finish_reason=output.end.reason,
                    **wanted.of_answer(output.end),
                )
                for index, output in enumerate(outputs)
            ],
            **wanted.of_prompt(outputs[0]),
            **shared,
        )
    return answers.TextCompletion(
        object="text_completion",
        choices=[
            answers.TextChoice(
                index=index,
                text=first.echo + output.text,
                logprobs=None if num_logprobs is None else _text_logprobs(output, first, num_logprobs),
                finish_reason=output.end.reason,
                **wanted.of_answer(output.end),
                **wanted.of_prompt(first),
            )
            for index, (output, first) in enumerate(zip(outputs, firsts, strict=True))
        ],
        **shared,
    )


def _text_logprobs(output: CollectedOutput, first: CollectedOutput, num_top: int) -> answers.TextLogprobs:
    return TextLogprobsWriter(num_top).write(output.logprobs, first.prompt if first.echo else ())


def _message(output: CollectedOutput) -> answers.AnswerMessage:
    text = output.text
    calls = [
        answers.AnswerToolCall(id=call.call_id, type="function", function=answers.CalledFunction(call.name, call.text))
        for _, call in sorted(output.calls.items())
    ]
    return answers.AnswerMessage(
        role="assistant",
        content=None if calls and not text else text,
        refusal=None,
        reasoning_content=output.reasoning or UNSET,
        tool_calls=calls or UNSET,
    )


def usage_of(ends: Sequence[SequenceEnd], num_choices: int = 1) -> answers.Usage:
    """Return OpenAI's usage object: every answer counts, every prompt counts once.

    Args:
        ends: Of all sequences, in the order of their indices.
        num_choices: Sequences per prompt.
    """
    firsts = ends[::num_choices]
    prompt = sum(end.usage.num_prompt_tokens for end in firsts)
    output = sum(end.usage.num_output_tokens for end in ends)
    return answers.Usage(
        prompt_tokens=prompt,
        completion_tokens=output,
        total_tokens=prompt + output,
        prompt_tokens_details=CachedTokens(
            sum(end.usage.num_cached_tokens for end in firsts),
            sum(end.usage.num_image_tokens for end in firsts) or UNSET,
        ),
        completion_tokens_details=ReasoningTokens(sum(end.usage.num_reasoning_tokens for end in ends)),
    )


def timings_of(ends: Sequence[SequenceEnd], generation: Generation, num_choices: int = 1) -> answers.Timings:
    """Return llama-server's timings object with mlxr's fields; sequences add up, a prompt counts once.

    A rate is null where no time was measured.

    Args:
        generation: For the engine, and the queue and load times.
    """
    firsts = ends[::num_choices]
    num_cached = sum(end.usage.num_cached_tokens for end in firsts)
    num_prefilled = sum(end.usage.num_prompt_tokens for end in firsts) - num_cached
    prompt_ms = sum(end.timings.prefill_ms for end in firsts)
    num_predicted = sum(end.usage.num_output_tokens for end in ends)
    # The first token belongs to the prefill: decode time covers the ones after it.
    num_decoded = max(0, num_predicted - len(ends))
    predicted_ms = sum(end.timings.decode_ms for end in ends)
    queue_ms = max((end.timings.queue_ms for end in ends), default=0.0)
    growth_ms = max((end.timings.cache_growth_ms for end in ends), default=0.0)
    choice = generation.choice
    num_drafted = sum(end.usage.num_drafted_tokens for end in ends)
    num_by_model = sum(end.usage.num_drafted_by_model for end in ends)
    return answers.Timings(
        cache_n=num_cached,
        prompt_n=num_prefilled,
        prompt_ms=round(prompt_ms, 3),
        prompt_per_token_ms=_ratio(prompt_ms, num_prefilled),
        prompt_per_second=_ratio(num_prefilled * 1000, prompt_ms),
        predicted_n=num_predicted,
        predicted_ms=round(predicted_ms, 3),
        predicted_per_token_ms=_ratio(predicted_ms, num_decoded),
        predicted_per_second=_ratio(num_decoded * 1000, predicted_ms),
        engine=None if choice is None else str(choice.target.engine),
        engine_reason=None if choice is None else choice.reason,
        worker=generation.worker,
        load_ms=round(generation.load_ms, 3),
        queue_ms=round(generation.queue_ms + queue_ms, 3),
        threads=_threads_of(ends),
        cache_growth_ms=round(growth_ms, 3) if growth_ms else UNSET,
        draft_n=num_drafted or UNSET,
        draft_n_accepted=sum(end.usage.num_accepted_tokens for end in ends) if num_drafted else UNSET,
        draft_n_model=num_by_model or UNSET,
        draft_n_model_accepted=sum(end.usage.num_accepted_by_model for end in ends) if num_by_model else UNSET,
        context=context_of(generation.context),
    )


def _threads_of(ends: Sequence[SequenceEnd]) -> list[answers.ThreadsFrom] | UnsetType:
    changes = ends[0].timings.threads if ends else ()
    return [answers.ThreadsFrom(round(each.at_ms, 3), each.num, each.reason) for each in changes] or UNSET


def _ratio(numerator: float, denominator: float) -> float | None:
    return round(numerator / denominator, 3) if denominator > 0 else None
