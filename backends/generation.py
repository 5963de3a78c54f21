"""One request inside a worker: from `Generate` to a sequence, from drawn tokens to text, usage and timings.

No engine step and no channel in here: the worker's loop calls in, events come out.
"""

import math

from backends.base import Tokenizer
from backends.chat_template import ChatTemplate
from backends.detokenizer import Detokenizer
from backends.errors import ContextLengthError, PromptError, TemplateError
from backends.messages import Delta, Event, Finished, Generate, LoadedModel, PrefillProgress, SequenceTimings, Usage
from backends.output.base import Output
from backends.prompts import ChatPrompt, ForkPrompt, TextPrompt, TokenPrompt
from backends.sequence import Sequence

_QUICK_BYTES_PER_TOKEN = 8
"""Texts up to this many bytes per token of the context are tokenized without a look at the longest token."""


class Intake:
    """Turns `Generate` messages into sequences, with the loaded model's tokenizer, template and limits.

    Args:
        tokenizer: The engine's.
        model: What was loaded.
    """

    def __init__(self, tokenizer: Tokenizer, model: LoadedModel) -> None:
        self._tokenizer = tokenizer
        self._context_length = model.context_length
        self._template: ChatTemplate | None = None

    def sequence_for(self, message: Generate) -> Sequence:
        """Return the waiting sequence that `message` asks for.

        Raises:
            ContextLengthError: The prompt leaves no room for an answer.
            TemplateError: The model has no chat template, or it failed.
            PromptError: The prompt is empty or has ids outside the vocabulary.
        """
        token_ids = self._prompt_ids(message)
        if not token_ids:
            raise PromptError("the prompt is empty after tokenization; send at least one token", param="prompt")
        room = self._context_length - len(token_ids)
        if room < 1:
            raise ContextLengthError(num_prompt_tokens=len(token_ids), context_length=self._context_length)
        return Sequence(
            sequence_id=message.sequence_id,
            token_ids=token_ids,
            num_prompt_tokens=len(token_ids),
            max_output_tokens=room if message.max_tokens is None else min(room, message.max_tokens),
            sampling=message.sampling,
        )

    def _prompt_ids(self, message: Generate) -> list[int]:
        match message.prompt:
            case ChatPrompt(messages=messages, template_kwargs=template_kwargs):
                return self._encode(self._chat_template().render(messages, template_kwargs))
            case TextPrompt(text=text):
                return self._encode(text)
            case TokenPrompt(token_ids=token_ids):
                for token_id in token_ids:
                    if not 0 <= token_id < self._tokenizer.vocab_size:
                        raise PromptError(
                            f"token id {token_id} is not in the vocabulary (0 to {self._tokenizer.vocab_size - 1})",
                            param="prompt",
                        )
                return list(token_ids)
            case ForkPrompt():
                raise PromptError("no sequence to fork", param="n")

    def _encode(self, text: str) -> list[int]:
        self._refuse_hopeless(text)
        bos_text = self._tokenizer.bos_text
        has_bos = bool(bos_text) and text.startswith(bos_text)
        return self._tokenizer.encode(text, add_bos=self._tokenizer.adds_bos and not has_bos)

    def _refuse_hopeless(self, text: str) -> None:
        """Refuse megabytes without tokenizing them (a SentencePiece tokenizer takes minutes for one).

        A text of N bytes has at least N / max_token_bytes tokens.
        """
        num_bytes = len(text.encode())
        if num_bytes <= self._context_length * _QUICK_BYTES_PER_TOKEN:
            return
        at_least = math.ceil(num_bytes / max(1, self._tokenizer.max_token_bytes))
        if at_least >= self._context_length:
            raise ContextLengthError(
                num_prompt_tokens=at_least, context_length=self._context_length, is_lower_bound=True
            )

    def _chat_template(self) -> ChatTemplate:
        if self._template is None:
            source = self._tokenizer.chat_template
            if source is None:
                raise TemplateError(
                    "this model has no chat template; use /v1/completions, or a model made for chat", param="messages"
                )
            self._template = ChatTemplate(source, bos_text=self._tokenizer.bos_text, eos_text=self._tokenizer.eos_text)
        return self._template


class Generation:
    """The running answer to one `Generate`.

    Args:
        message: The request.
        sequence: Its sequence; the batcher changes it, this only reads.
        tokenizer: Gives the bytes of tokens and the end tokens.
        now: Time of receipt, seconds of a monotonic clock, as all times here.
    """

    def __init__(self, message: Generate, sequence: Sequence, tokenizer: Tokenizer, now: float) -> None:
        self.sequence = sequence
        self._wants_progress = message.wants_progress
        self._ignore_eos = message.ignore_eos
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(message.stop)
        self._received_at = now
        self._prefill_at: float | None = None
        self._first_token_at: float | None = None
        self._num_silent_tokens = 0

    @property
    def usage(self) -> Usage:
        """Token counts so far."""
        return Usage(self.sequence.num_prompt_tokens, 0, self.sequence.num_output_tokens)

    def on_scheduled(self, now: float) -> None:
        """Note that a step has taken the sequence up."""
        if self._prefill_at is None:
            self._prefill_at = now

    def on_progress(self) -> list[Event]:
        """Return the progress event after a step that drew no token for this sequence."""
        if not self._wants_progress or self._first_token_at is not None:
            return []
        total = self.sequence.num_prompt_tokens
        done = min(self.sequence.num_computed, total)
        return [PrefillProgress(self.sequence.sequence_id, done, total, 0)]

    def on_token(self, token_id: int, now: float) -> Event | None:
        """Take over a drawn token (already in the sequence); return its delta, the end, or nothing to say yet."""
        if self._first_token_at is None:
            self._first_token_at = now
        if not self._ignore_eos and self._tokenizer.is_end(token_id):
            return self._finished("stop", self._detokenizer.flush(), now)
        text = self._detokenizer.push(self._tokenizer.token_bytes(token_id))
        if self._detokenizer.is_stopped:
            return self._finished("stop", text, now)
        if self.sequence.num_output_tokens >= self.sequence.max_output_tokens:
            return self._finished("length", text + self._detokenizer.flush(), now)
        self._num_silent_tokens += 1
        if not text:
            return None
        num_tokens, self._num_silent_tokens = self._num_silent_tokens, 0
        return Delta(self.sequence.sequence_id, Output(text), num_tokens)

    def _finished(self, reason: str, text: str, now: float) -> Finished:
        prefill_at = self._received_at if self._prefill_at is None else self._prefill_at
        first_token_at = now if self._first_token_at is None else self._first_token_at
        timings = SequenceTimings(
            queue_ms=(prefill_at - self._received_at) * 1000,
            prefill_ms=(first_token_at - prefill_at) * 1000,
            decode_ms=(now - first_token_at) * 1000,
        )
        return Finished(self.sequence.sequence_id, reason, Output(text), self.usage, timings)
