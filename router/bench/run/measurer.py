"""Sends one contestant the requests of scenarios and turns the answers into samples.

Not here: whose turn it is (`runner`), and what a request looks like on the wire (`client`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
import msgspec

from registry.bench_record import BenchSample, ImageUse, TalkWay
from router.bench.plan.contestants import Contestant
from router.bench.plan.deciding import decision_body
from router.bench.plan.scenarios import Scenario, ScenarioRequest, next_turn, requests_of
from router.bench.plan.talks import talk_of, ways_of
from router.bench.plan.texts import generator, label
from router.bench.run.client import Answer, stream_answer
from router.bench.run.decisions import decide
from router.bench.run.talking import TalkAnswer, Talking

_WARM_UP: Final = "Say hello to the harbour master in one sentence."
_WARM_UP_TOKENS: Final = 8
_NO_HEADERS: Final[Mapping[str, str]] = {}
_RELOADED: Final = "the model had to be loaded again for it: its worker died, or another request swapped it out"


class Measurer:
    """One contestant.

    Args:
        started_at: When the run began, monotonic.

    Attributes:
        context_length: It is loaded with, where that is known.
    """

    def __init__(
        self, index: int, contestant: Contestant, http: httpx.AsyncClient, *, seed: int, started_at: float
    ) -> None:
        self.index = index
        self.contestant = contestant
        self.http = http
        self._seed = seed
        self._started_at = started_at
        self.holds_threads = False
        self.context_length: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What each of its requests has."""
        return self.contestant.headers(**({"threads": "all"} if self.holds_threads else {}))

    async def warm_up(self) -> Answer:
        """Have it answer something short; it is loaded for that if it is not."""
        request = ScenarioRequest(messages=({"role": "user", "content": _WARM_UP},), max_tokens=_WARM_UP_TOKENS, seed=0)
        return await self._send(request)

    async def warm_up_for(self, scenario: Scenario, chars_of: Callable[[int], int]) -> None:
        """Have it prepare what a scenario's first request would otherwise pay: a schema's grammar, the tower."""
        if scenario.has_decisions:
            await self._decided(scenario, -1)
        elif scenario.schema is not None or scenario.has_image:
            request = self._requests(scenario, -1, chars_of)[0]
            await self._send(request)

    async def round_of(
        self, scenario: Scenario, round_number: int, chars_of: Callable[[int], int]
    ) -> tuple[BenchSample, ...]:
        """Measure one round of a scenario.

        Args:
            round_number: From 0.
            chars_of: How many characters of prose have so many tokens.
        """
        if scenario.has_decisions:
            return (await self._decided(scenario, round_number),)
        requests = self._requests(scenario, round_number, chars_of)
        if scenario.num_turns > 1:
            answers = await self._conversation(scenario, requests[0])
        elif scenario.prompts:
            answers = [await self._send(request) for request in requests]
        elif scenario.has_image:
            return await self._look(scenario, round_number, requests)
        else:
            answers = list(await asyncio.gather(*(self._send(request) for request in requests)))
        return tuple(self._sample(scenario, round_number, answer) for answer in answers)

    async def talks_of(
        self,
        scenario: Scenario,
        round_number: int,
        chars_of: Callable[[int], int],
        tell: Callable[[str], None],
    ) -> tuple[BenchSample, ...]:
        """Measure one round of a long talk: the same one in each way that there is.

        Args:
            round_number: From 0.
            chars_of: How many characters of prose have so many tokens.
            tell: Is told how far it is.
        """
        assert scenario.num_talk_turns is not None
        talk = talk_of(seed=self._seed, round_number=round_number, num_turns=scenario.num_talk_turns)
        ways = ways_of(
            talk, is_foreign=self.contestant.is_foreign, context_length=self.context_length, chars_of=chars_of
        )
        samples: list[BenchSample] = []
        for way in ways:
            talking = Talking(
                self._send,
                talk,
                way,
                word=label(generator(self._seed, scenario.name, round_number, self.index, way)),
                max_tokens=scenario.max_tokens,
                context_length=self.context_length,
                chars_per_token=chars_of(1000) / 1000,
                tell=tell,
            )
            answers = await talking.hold()
            samples += [self._talk_sample(scenario, round_number, way, answer) for answer in answers]
            await self._forget({sample.context_id for sample in samples if sample.talk == way})
        return tuple(samples)

    async def _decided(self, scenario: Scenario, round_number: int) -> BenchSample:
        body = decision_body(seed=self._seed, round_number=round_number)
        answer, opinions = await decide(self.http, body, model=self.contestant.model, headers=self.headers)
        return msgspec.structs.replace(self._sample(scenario, round_number, answer), decisions=opinions)

    async def _forget(self, context_ids: set[str | None]) -> None:
        """Have the server let go of what it told again of talks, so that the next run finds none of it."""
        for context_id in context_ids - {None}:
            with contextlib.suppress(httpx.HTTPError):
                await self.http.delete(f"/v1/mlxr/contexts/{context_id}")

    def _talk_sample(self, scenario: Scenario, round_number: int, way: TalkWay, told: TalkAnswer) -> BenchSample:
        sample = self._sample(scenario, round_number, told.answer)
        context = (told.answer.timings or {}).get("context") or {}
        return msgspec.structs.replace(
            sample,
            token_times_ms=(),
            talk=way,
            turn=told.turn,
            recall=told.recall,
            context_id=None if sample.error is not None else context.get("id"),
        )

    def failed(self, scenario: Scenario, round_number: int, error: str, now: float) -> BenchSample:
        """Return the sample of a request that could not be sent.

        Args:
            round_number: From 0.
            error: Why not.
            now: Monotonic seconds.
        """
        return self._sample(scenario, round_number, Answer(started_at=now, error=error))

    async def _look(
        self, scenario: Scenario, round_number: int, requests: tuple[ScenarioRequest, ...]
    ) -> tuple[BenchSample, ...]:
        """Return the samples of both questions; without an answer to the first the picture is not known yet."""
        samples: list[BenchSample] = []
        for request in requests:
            sample = self._sample(scenario, round_number, await self._send(request), request.image)
            samples.append(sample)
            if sample.error is not None:
                break
        return tuple(samples)

    async def _conversation(self, scenario: Scenario, request: ScenarioRequest) -> list[Answer]:
        """Return the answers to all turns but the first."""
        answer = await self._send(request)
        answers: list[Answer] = []
        for turn in range(1, scenario.num_turns):
            if answer.error is not None:
                return answers or [answer]
            request = next_turn(request, answer.text, seed=self._seed, turn=turn)
            answer = await self._send(request)
            answers.append(answer)
        return answers

    def _requests(
        self, scenario: Scenario, round_number: int, chars_of: Callable[[int], int]
    ) -> tuple[ScenarioRequest, ...]:
        return requests_of(
            scenario, seed=self._seed, round_number=round_number, contestant=self.index, chars_per_token=chars_of
        )

    async def _send(self, request: ScenarioRequest, headers: Mapping[str, str] = _NO_HEADERS) -> Answer:
        headers = {**self.headers, **headers}
        return await stream_answer(self.http, request, model=self.contestant.model, headers=headers)

    def _sample(
        self, scenario: Scenario, round_number: int, answer: Answer, image: ImageUse | None = None
    ) -> BenchSample:
        timings: dict[str, Any] = {} if self.contestant.is_foreign else answer.timings or {}
        error = answer.error or (_RELOADED if timings.get("load_ms") else None)
        sample = BenchSample(
            contestant=self.index,
            scenario=scenario.name,
            round=round_number,
            started_s=round(answer.started_at - self._started_at, 4),
            num_parallel=scenario.num_parallel,
            error=error,
            image=image,
        )
        if error is not None:
            return sample
        seen = None if image is None or self.contestant.is_foreign else answer.image
        return msgspec.structs.replace(
            sample,
            num_prompt_tokens=answer.num_prompt_tokens,
            num_cached_tokens=answer.num_cached_tokens,
            num_output_tokens=answer.num_output_tokens,
            ttft_ms=answer.piece_times_ms[0] if answer.piece_times_ms else answer.total_ms,
            total_ms=answer.total_ms,
            token_times_ms=answer.piece_times_ms,
            prefill_ms=timings.get("prompt_ms"),
            decode_ms=timings.get("predicted_ms"),
            queue_ms=timings.get("queue_ms"),
            load_ms=timings.get("load_ms"),
            least_threads=min((each["n"] for each in timings.get("threads") or ()), default=None),
            num_drafted=timings.get("draft_n"),
            num_accepted=timings.get("draft_n_accepted"),
            num_drafted_by_model=timings.get("draft_n_model"),
            num_image_tokens=None if seen is None else seen.tokens,
            is_image_cached=None if seen is None else seen.cached,
            encode_ms=None if seen is None or seen.cached else seen.encode_ms,
            answer_digest=None if image is None else answer.digest,
        )
