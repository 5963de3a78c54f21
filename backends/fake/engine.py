"""A deterministic engine without a model: settable speeds, faults and memory, for tests of everything around engines.

It has a byte vocabulary, so its texts are real text, and obeys the same contract suite as the real engines.
"""

import os
import random
import signal
import time
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from backends.base import Engine, EngineInfo, LoadedEngine
from backends.cache_files import ExportedCache
from backends.embedding import Encoder, normalised
from backends.errors import BackendError, EngineError, LoadError
from backends.fake.caches import FINGERPRINT, FakeCaches
from backends.fake.facts import fact_asked_for, facts_in
from backends.fake.tokenizer import IM_END, NUM_BYTES, FakeTokenizer
from backends.fake.tower import colours_seen, rows_of
from backends.logits import Logits, LogitsEditor, TokenScore, score
from backends.sequence import Sequence, Tile
from backends.step import Chunk, PromptScores, StepPlan, StepResult
from backends.wire.load import LoadedModel, LoadSpec
from backends.wire.request import Pooling

_ALPHABET = b"abcdefghijklmnopqrstuvwxyz     "
_UNLIKELY_LOGIT = -30.0
_GREEDY_LEAD = 3.0
_END_LEAD = 1000.0
_DEFAULT_STEP_TOKENS = 512
_SLICE_S = 0.005
VECTOR_WIDTH = 8


class FakeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the fake behaves.

    Attributes:
        prefill_s_per_token: Time per prompt token.
        decode_s: Time per decode step, whatever its size.
        answer_tokens: Length after which a greedy answer ends by itself; None = never.
        ballast_bytes: Memory that is really allocated and touched at load.
        ballasts: The same by the path of what is loaded, where models are of several sizes.
        load_error: The engine's words for refusing the model; None = it loads.
        crash_at_token: Die by SIGKILL before that output token of any sequence (0 = in its prefill).
        hang_at_token: Stop for ever before that output token.
        answers: Pairs of a text and what is answered to a prompt that has it, the first such pair counts; others are
            answered with letters. `{colours}` in what is answered stands for the prompt's pictures, by their colours,
            `{facts}` for all that the prompt says is so, `{fact}` for what it says of what it asks for (`facts`).
        gates: A folder by which others stop it and let it go on, None = nothing does. What stands still while a file is
            there: `load` a load, `prefill` and `decode` steps with and without tokens of prompts, `token-N` steps that
            draw the Nth token after the first of a sequence, `embed` embeddings, `encode` the tower.
        working_set_bytes: What Metal is to have said of the machine; None = there is no Metal.
        encode_s: Time per tile of a picture.
        encode_error: The tower's words for failing; None = it does not.
        encodes_beside: Whether the tower can be used beside the steps.
        takes_drafts: Whether steps may have drafts.
    """

    load_s: float = 0.0
    prefill_s_per_token: float = 0.0
    decode_s: float = 0.0
    answer_tokens: int | None = None
    context_length: int = 8192
    ballast_bytes: int = 0
    ballasts: tuple[tuple[str, int], ...] = ()
    load_error: str | None = None
    crash_at_load: bool = False
    crash_at_token: int | None = None
    hang_at_token: int | None = None
    fail_at_token: int | None = None
    answers: tuple[tuple[str, str], ...] = ()
    gates: str | None = None
    working_set_bytes: int | None = None
    encode_s: float = 0.0
    encode_error: str | None = None
    encodes_beside: bool = False
    takes_drafts: bool = False

    def answer_to(self, sequence: Sequence) -> bytes | None:
        """Return what is set to be answered, or None."""
        if not self.answers:
            return None
        prompt = bytes(token_id for token_id in sequence.token_ids if token_id < NUM_BYTES).decode(errors="replace")
        answer = next((answer for text, answer in self.answers if text in prompt), None)
        if answer is None:
            return None
        for name, shown in (("{facts}", facts_in), ("{fact}", fact_asked_for)):
            answer = answer.replace(name, shown(prompt)) if name in answer else answer
        return answer.replace("{colours}", colours_seen(sequence)).encode()

    def is_closed(self, *gates: str) -> bool:
        """Whether one of these is."""
        return self.gates is not None and any(Path(self.gates, gate).exists() for gate in gates)


class _Live(NamedTuple):
    """What a live sequence has beside its cache; its answer where one is set."""

    sequence: Sequence
    generator: random.Random
    editor: LogitsEditor | None
    answer: bytes | None


class FakeEncoder(Encoder):
    """Takes the set time per token."""

    def __init__(self, pooling: Pooling, options: FakeOptions) -> None:
        super().__init__(pooling)
        self._options = options

    def step(self, max_tokens: int, should_abort: Callable[[], bool]) -> bytes | None:
        """Take the time of the next tokens."""
        if self._options.is_closed("embed"):
            time.sleep(_SLICE_S)
            return None
        num_tokens = len(self._next_piece(max_tokens))
        if _is_given_up(num_tokens * self._options.prefill_s_per_token, should_abort):
            return None
        self._num_done += num_tokens
        return self._vector() if self._num_done == len(self._token_ids) else None

    def close(self) -> None:
        """Nothing is held."""

    def _vector(self) -> bytes:
        generator = random.Random(f"{self._pooling} {self._token_ids}")  # noqa: S311 - not cryptography
        return normalised(np.array([generator.gauss(0.0, 1.0) for _ in range(VECTOR_WIDTH)], np.float32))


class FakeEngine(Engine):
    """The engine; see `FakeOptions`."""

    name = "fake"
    can_see = True

    def __init__(self, options: FakeOptions | None = None) -> None:
        self._options = options or FakeOptions()

    def info(self) -> EngineInfo:
        """Return fixed facts."""
        size = self._options.working_set_bytes
        device: dict[str, str | int] = {} if size is None else {"max_recommended_working_set_size": size}
        return EngineInfo({"fake": "1"}, "no computation", device)

    def _load(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> "LoadedFake":
        if self._options.crash_at_load:
            os.abort()
        for tenth in range(10):
            time.sleep(self._options.load_s / 10)
            on_progress((tenth + 1) / 10)
            while self._options.is_closed("load"):
                time.sleep(_SLICE_S)
        if self._options.load_error is not None:
            raise LoadError(self._options.load_error)
        return LoadedFake(spec, self._options)


class LoadedFake(LoadedEngine):
    """What a load of the fake engine gives."""

    def __init__(self, spec: LoadSpec, options: FakeOptions) -> None:
        self._options = options
        self._ballast = b"\1" * dict(options.ballasts).get(spec.model_path, options.ballast_bytes)
        tokenizer = FakeTokenizer()
        context_length = min(spec.context_length, options.context_length)
        super().__init__(
            spec,
            LoadedModel(
                context_length=context_length,
                max_sequences=spec.max_sequences,
                kv_cells=max(context_length, spec.kv_cells or 0),
                vocab_size=tokenizer.vocab_size,
                devices=("fake",),
                why_no_drafts=None if options.takes_drafts else "it was told so",
            ),
            tokenizer,
            step_tokens=max(spec.step_tokens or _DEFAULT_STEP_TOKENS, spec.max_sequences),
            num_slots=spec.max_sequences + spec.num_spare_slots,
            can_cut_cache=True,
            forks_share_cells=True,
        )
        self.cache_fingerprint = FINGERPRINT
        self._caches = FakeCaches(self.limits.num_slots, self.limits.num_cells)
        self.encodes_beside = options.encodes_beside
        self._live: dict[int, _Live] = {}

    def insert(self, sequence: Sequence, editor: LogitsEditor | None = None) -> None:
        """Give the sequence its own generator."""
        generator = random.Random(sequence.sampling.seed)  # noqa: S311 - not cryptography
        self._live[sequence.sequence_id] = _Live(sequence, generator, editor, self._options.answer_to(sequence))

    def fork(self, source_id: int, target_id: int, num_tokens: int) -> bool:
        """Let both hold the same cells; after a retired one, cells of its own."""
        if self._live[target_id].sequence.num_separable(num_tokens) != num_tokens:
            raise EngineError("fake: a beginning that ends inside a picture")
        return self._caches.fork(source_id, target_id, num_tokens)

    def retire(self, sequence_id: int) -> int:
        """Keep the sequence's tokens beside the cells."""
        live = self._live.pop(sequence_id, None)
        if live is not None:
            self._caches.cut(sequence_id, len(live.sequence.token_ids))
        return self._caches.retire(sequence_id)

    def export_cache(self, sequence_id: int, places: Collection[int] | None = None) -> ExportedCache | None:
        """Return the sequence's tokens."""
        del places
        return self._caches.export(sequence_id)

    def load_cache(self, path: Path, sequence_id: int, token_ids: list[int]) -> int:
        """Read tokens back."""
        return self._caches.load(path, sequence_id, token_ids)

    def step(self, plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
        """Take the set time, then draw; fail as set, or where a chunk does not fit what the caches hold."""
        for sequence_id in plan.evicted:
            self._caches.remove(sequence_id)
        result = StepResult()
        num_prefill = sum(chunk.num_tokens for chunk in plan.chunks if not chunk.sequence.is_decoding)
        duration_s = num_prefill * self._options.prefill_s_per_token
        if any(chunk.sequence.is_decoding for chunk in plan.chunks):
            duration_s += self._options.decode_s
        gates = ["prefill" if num_prefill else "decode"]
        for chunk in plan.chunks:
            if chunk.samples:
                self._commit_faults(chunk.sequence.num_output_tokens)
                gates.append(f"token-{chunk.sequence.num_output_tokens}")
        if _is_given_up(duration_s, should_abort, lambda: self._options.is_closed(*gates)):
            return StepResult(was_aborted=True)
        for chunk in plan.chunks:
            sequence_id = chunk.sequence.sequence_id
            self._caches.evaluate(chunk)
            result.num_computed[sequence_id] = chunk.end
            if chunk.scored:
                result.prompt_scores[sequence_id] = PromptScores(chunk.scored.start, self._scores(chunk))
            if chunk.samples:
                self._draw(chunk, result)
        return result

    def encode(self, tile: Tile, should_abort: Callable[[], bool]) -> bool:
        """Take the set time; fail as set."""
        assert tile.rows is None, "no tile is encoded twice"
        if _is_given_up(self._options.encode_s, should_abort, lambda: self._options.is_closed("encode")):
            return False
        if self._options.encode_error is not None:
            raise EngineError(self._options.encode_error)
        tile.rows = rows_of(tile)
        return True

    def clear_pool(self) -> None:
        """Do nothing: it keeps no memory that nobody uses."""

    def remove(self, sequence_id: int) -> None:
        """Drop the cache, the generator and the editor."""
        self._caches.remove(sequence_id)
        self._forget(sequence_id)

    def create_encoder(self, pooling: Pooling, max_tokens: int) -> Encoder:
        """Embed at the set time per prompt token."""
        del max_tokens
        return FakeEncoder(pooling, self._options)

    def close(self) -> None:
        """Drop the ballast."""
        self._ballast = b""

    def _forget(self, sequence_id: int) -> None:
        self._live.pop(sequence_id, None)

    def _set_choice(self, sequence: Sequence, num_output: int) -> int | None:
        """Return the token that is set to come after that many of the output, or None."""
        answer = self._live[sequence.sequence_id].answer
        if answer is not None and num_output >= 0:
            return answer[num_output] if num_output < len(answer) else IM_END
        return IM_END if num_output == self._options.answer_tokens else None

    def _commit_faults(self, num_output_tokens: int) -> None:
        if num_output_tokens == self._options.crash_at_token:
            os.kill(os.getpid(), signal.SIGKILL)
        if num_output_tokens == self._options.hang_at_token:
            while True:
                signal.pause()
        if num_output_tokens == self._options.fail_at_token:
            raise EngineError(f"fake failure before token {num_output_tokens}")

    def _draw(self, chunk: Chunk, result: StepResult) -> None:
        """Draw as long as the chunk's draft is right, and once more; keep of its cells what was right."""
        sequence = chunk.sequence
        num_right = result.draw_along(
            chunk,
            self._live[sequence.sequence_id].editor,
            lambda num: self._draw_one(sequence, [*sequence.token_ids, *chunk.draft[:num]], result),
        )
        if chunk.draft:
            self._caches.cut(sequence.sequence_id, chunk.end + num_right)
        result.num_computed[sequence.sequence_id] = chunk.end + num_right

    def _draw_one(self, sequence: Sequence, token_ids: list[int], result: StepResult) -> bool:
        """Draw what follows a sequence's tokens and those drawn after them; return whether it could be."""
        sequence_id = sequence.sequence_id
        _, generator, editor, _ = self._live[sequence_id]
        if editor is None:
            result.add(sequence_id, self._drawn_plainly(sequence, token_ids, generator), None)
            return True
        logits = self._logits(sequence, token_ids)
        try:
            result.add(sequence_id, *editor.draw(logits, lambda: _drawn_from(logits, sequence, generator)))
        except BackendError as exc:
            result.errors[sequence_id] = exc
            return False
        return True

    def _drawn_plainly(self, sequence: Sequence, token_ids: list[int], generator: random.Random) -> int:
        if (set_choice := self._set_choice(sequence, len(token_ids) - sequence.num_prompt_tokens)) is not None:
            return set_choice
        if sequence.sampling.is_greedy:
            return _greedy_choice(token_ids)
        return _ALPHABET[int(generator.random() * len(_ALPHABET))]

    def _scores(self, chunk: Chunk) -> list[TokenScore]:
        sequence, num_top = chunk.sequence, chunk.sequence.sampling.num_prompt_logprobs or 0
        return [
            score(self._logits(sequence, sequence.token_ids[:at]), sequence.token_ids[at], num_top)
            for at in chunk.scored
        ]

    def _logits(self, sequence: Sequence, token_ids: list[int]) -> Logits:
        """Return logits after these tokens, from which an unedited draw gives what `_drawn_plainly` gives."""
        logits = np.full(self.tokenizer.vocab_size, _UNLIKELY_LOGIT, np.float32)
        for letter in set(_ALPHABET):
            logits[letter] = np.log(_ALPHABET.count(letter))
        if sequence.sampling.is_greedy:
            logits[_greedy_choice(token_ids)] += _GREEDY_LEAD
        if (set_choice := self._set_choice(sequence, len(token_ids) - sequence.num_prompt_tokens)) is not None:
            logits[set_choice] = _END_LEAD
        return logits


def _is_given_up(
    duration_s: float, should_abort: Callable[[], bool], is_held: Callable[[], bool] = lambda: False
) -> bool:
    """Let time pass, and all that it is held for; tell whether it was cut short."""
    end = time.monotonic() + duration_s
    while (left := end - time.monotonic()) > 0 or is_held():
        time.sleep(min(_SLICE_S, left) if left > 0 else _SLICE_S)
        if should_abort():
            return True
    return False


def _greedy_choice(token_ids: list[int]) -> int:
    digest = zlib.crc32(b",".join(str(token_id).encode() for token_id in token_ids[-8:]))
    return _ALPHABET[digest % len(_ALPHABET)]


def _drawn_from(logits: Logits, sequence: Sequence, generator: random.Random) -> int:
    """Draw by the edited logits; temperature and filters are left out, as in plain draws."""
    if sequence.sampling.is_greedy:
        return int(logits.argmax())
    letters = np.array(sorted(set(_ALPHABET), key=_ALPHABET.index))
    others = np.setdiff1d(np.arange(len(logits)), letters)
    ordered = np.concatenate([letters, others])
    sums = np.cumsum(np.exp(logits[ordered].astype(np.float64) - logits.max()))
    at = generator.random() * sums[-1]
    return int(ordered[np.searchsorted(sums, at, side="right")])
