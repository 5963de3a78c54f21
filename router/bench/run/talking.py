"""Holds a long talk with one contestant, in one way: turn after turn with all that was said, then a question per fact.

Each question is asked behind the same talk, so that no answer helps another one. A talk of which a turn fails is over.
Not here: what is said (`plan/talks.py`).
"""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec

from registry.bench_record import Recall, TalkWay
from router.bench.plan.scenarios import ANSWER_ROOM, UNKNOWN_CONTEXT_LENGTH, ScenarioRequest
from router.bench.plan.talks import MESSAGE_TOKENS, TALK_SYSTEM, Message, Talk, without_oldest
from router.bench.run.client import EMPTY_ANSWER, Answer
from router.http.headers import CONTEXT_HEADER

_ROOM_SHARE: Final = 0.95
"""Of the context that is filled where the oldest turns are left out: tokens are worked out, not counted."""


class TalkAnswer(NamedTuple):
    """One answer.

    Attributes:
        turn: From 0; None = it is one to a question.
        recall: What it says of the fact that was asked for.
    """

    answer: Answer
    turn: int | None
    recall: Recall | None


class Talking:
    """One talk.

    Args:
        send: Sends a request with further headers.
        word: The talk begins with it, so that no cache serves another one's.
        context_length: None = not known.
        chars_per_token: Of prose; what answers say of their prompts' tokens is used from the first one on.
        tell: Is told how far it is.
    """

    def __init__(
        self,
        send: Callable[[ScenarioRequest, dict[str, str]], Awaitable[Answer]],
        talk: Talk,
        way: TalkWay,
        *,
        word: str,
        max_tokens: int,
        context_length: int | None,
        chars_per_token: float,
        tell: Callable[[str], None],
    ) -> None:
        self._send = send
        self._talk = talk
        self._way = way
        self._max_tokens = max_tokens
        self._room = int(_ROOM_SHARE * ((context_length or UNKNOWN_CONTEXT_LENGTH) - ANSWER_ROOM))
        self._chars_per_token = chars_per_token
        self._tell = tell
        self._history: list[Message] = [{"role": "system", "content": f"{word.capitalize()}: {TALK_SYSTEM}"}]

    async def hold(self) -> list[TalkAnswer]:
        """Return the answers to all turns and questions, or until one fails."""
        answers: list[TalkAnswer] = []
        for number, text in enumerate(self._talk.turns):
            self._tell(f"{self._way}, turn {number + 1} of {len(self._talk.turns)}")
            answer = await self._ask(text)
            answers.append(TalkAnswer(answer, number, None))
            if answer.error is not None:
                return answers
            self._history += [{"role": "user", "content": text}, {"role": "assistant", "content": answer.text}]
        for number, fact in enumerate(self._talk.facts):
            self._tell(f"{self._way}, question {number + 1} of {len(self._talk.facts)}")
            answer = await self._ask(fact.question)
            answers.append(TalkAnswer(answer, None, None if answer.error else fact.recall(answer.text)))
        return answers

    async def _ask(self, text: str) -> Answer:
        messages = [*self._history, {"role": "user", "content": text}]
        if self._way == "truncated":
            messages = without_oldest(messages, self._room, self._chars_per_token)
        mode = "wind" if self._way == "wind" else "error"
        request = ScenarioRequest(
            messages=tuple(messages), max_tokens=self._max_tokens, seed=0, is_filled=False, temperature=0.0
        )
        answer = await self._send(request, {CONTEXT_HEADER: mode})
        if self._way == "truncated" and answer.num_prompt_tokens:
            num_chars = sum(len(message["content"]) for message in messages)
            text_tokens = max(1, answer.num_prompt_tokens - len(messages) * MESSAGE_TOKENS)
            self._chars_per_token = num_chars / text_tokens
        # Nothing to say to a turn is an answer; of a fact, that it is missing.
        return msgspec.structs.replace(answer, error=None) if answer.error == EMPTY_ANSWER else answer
