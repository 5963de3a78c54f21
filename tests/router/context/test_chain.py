import copy
import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.prompts import ChatPrompt, ImagePart, PromptMessage, TextPart
from router.context.chain import chain_of, root_of
from tests.support.random_talks import random_prompt


def _resent(rng: random.Random, prompt: ChatPrompt) -> ChatPrompt:
    """Return a conversation as a client may send it back, which says the same."""
    messages = copy.deepcopy(prompt.messages)
    ids = {call["id"]: f"toolu_{rng.random()}" for each in messages for call in each.get("tool_calls", [])}
    for message in messages:
        message.pop("reasoning_content", None)
        if message["role"] == "tool":
            message["tool_call_id"] = ids[message["tool_call_id"]]
            message["name"] = "read"
        for call in message.get("tool_calls", []):
            call["id"] = ids[call["id"]]
            call["function"]["arguments"] = dict(reversed(call["function"]["arguments"].items()))
        if isinstance(message["content"], str):
            text = f"{rng.choice(('', ' '))}{message['content']}{rng.choice(('', chr(10)))}"
            message["content"] = text if rng.random() < 0.5 else [TextPart(text)]
        elif message["content"] is None:
            message["content"] = ""
    return msgspec.structs.replace(prompt, messages=messages)


@pytest.mark.parametrize("seed", range(50))
def test_a_history_that_is_sent_again_has_the_same_digests(seed: int) -> None:
    rng = random.Random(seed)
    prompt = random_prompt(rng)
    chain = chain_of(prompt)
    assert len(chain) == len(prompt.messages) + 1
    assert len(set(chain)) == len(chain)
    assert chain_of(_resent(rng, prompt)) == chain
    assert root_of(_resent(rng, prompt), chain) == root_of(prompt, chain)


@pytest.mark.parametrize("seed", range(50))
def test_beginnings_have_the_digests_of_what_goes_on(seed: int) -> None:
    prompt = random_prompt(random.Random(seed))
    chain = chain_of(prompt)
    for end in range(len(prompt.messages) + 1):
        assert chain_of(msgspec.structs.replace(prompt, messages=prompt.messages[:end])) == chain[: end + 1]


@pytest.mark.parametrize("seed", range(50))
def test_an_edit_is_another_conversation_from_there_on(seed: int) -> None:
    rng = random.Random(seed)
    prompt = random_prompt(rng)
    at = rng.randrange(len(prompt.messages))
    messages: list[PromptMessage] = [*prompt.messages]
    messages[at] = {**messages[at], "content": "Something else."}
    chain, edited = chain_of(prompt), chain_of(msgspec.structs.replace(prompt, messages=messages))
    assert edited[: at + 1] == chain[: at + 1]
    assert not set(edited[at + 1 :]) & set(chain)


def test_parallel_branches_share_their_beginning_and_nothing_else() -> None:
    begin = random_prompt(random.Random(5))
    branches = []
    for answer in ("Yes.", "No."):
        messages = [*begin.messages, {"role": "assistant", "content": answer}, {"role": "user", "content": "And now?"}]
        branches.append(chain_of(msgspec.structs.replace(begin, messages=messages)))
    shared = len(begin.messages) + 1
    assert branches[0][:shared] == branches[1][:shared]
    assert not set(branches[0][shared:]) & set(branches[1][shared:])


def _prompt() -> ChatPrompt:
    function = {"name": "read", "arguments": {"path": "a", "lines": [1, 2]}}
    messages: list[PromptMessage] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [TextPart("Look."), ImagePart(b"\x89PNG 1", "messages")]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "function": function}]},
        {"role": "tool", "content": "ok", "tool_call_id": "a"},
        {"role": "assistant", "content": "Seen."},
        {"role": "user", "content": "Good."},
    ]
    return ChatPrompt(messages, tools=[{"type": "function", "function": {"name": "read"}}])


def _with(change: Callable[[list[Any]], object]) -> ChatPrompt:
    prompt = copy.deepcopy(_prompt())
    change(prompt.messages)
    return prompt


@pytest.mark.parametrize(
    "change",
    [
        lambda messages: messages[0].update(content="Be long."),
        lambda messages: messages[1]["content"].reverse(),
        lambda messages: messages[1]["content"].__setitem__(1, ImagePart(b"\x89PNG 2", "messages")),
        lambda messages: messages[1].update(name="Ann"),
        lambda messages: messages[2]["tool_calls"][0]["function"].update(name="write"),
        lambda messages: messages[2]["tool_calls"][0]["function"].update(arguments={"path": "b", "lines": [1, 2]}),
        lambda messages: messages[2]["tool_calls"].clear(),
        lambda messages: messages[3].update(content="no"),
        lambda messages: messages[3].update(tool_call_id="other"),
        lambda messages: messages.pop(4),
        lambda messages: messages[4].update(role="user"),
    ],
)
def test_what_the_model_is_told_counts(change: Callable[[list[Any]], object]) -> None:
    assert chain_of(_with(change))[-1] != chain_of(_prompt())[-1]


@pytest.mark.parametrize(
    "change",
    [
        lambda messages: messages[1]["content"].__setitem__(1, ImagePart(b"\x89PNG 1", "input[0]", max_side=256)),
        lambda messages: messages[2].update(content=" "),
        lambda messages: messages[2].update(reasoning_content="I should look."),
        lambda messages: messages[5].update(content="<system-reminder>\nNo todos.\n</system-reminder>\nGood."),
        lambda messages: messages[5].update(
            content=[TextPart("Good."), TextPart("<system-reminder></system-reminder>")]
        ),
    ],
)
def test_what_only_a_client_changes_does_not_count(change: Callable[[list[Any]], object]) -> None:
    assert chain_of(_with(change)) == chain_of(_prompt())


def test_other_tools_are_another_conversation() -> None:
    assert not set(chain_of(_prompt())) & set(chain_of(msgspec.structs.replace(_prompt(), tools=[])))


def test_ids_that_come_again_mean_the_last_call() -> None:
    """Some clients count their calls anew in each round."""
    rounds = [_prompt().messages[2], _prompt().messages[3]]
    again = ChatPrompt([*rounds, *copy.deepcopy(rounds)])
    renamed = copy.deepcopy(again)
    renamed.messages[2]["tool_calls"][0]["id"] = "b"
    renamed.messages[3]["tool_call_id"] = "b"
    assert chain_of(renamed) == chain_of(again)


@given(st.text(), st.text())
def test_texts_are_equal_when_they_are_but_for_white_space_at_their_ends(one: str, other: str) -> None:
    chains = [
        chain_of(ChatPrompt([{"role": "user", "content": json.loads(json.dumps(text))}])) for text in (one, other)
    ]
    has_reminder = "<system-reminder>" in one + other
    assert (chains[0] == chains[1]) == (one.strip() == other.strip()) or has_reminder
