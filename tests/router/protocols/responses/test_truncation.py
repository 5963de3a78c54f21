"""Which turns go first; that the rest fits is tested over HTTP, with the capabilities."""

from router.protocols.responses.truncation import num_droppable_turns, without_oldest_turns
from tests.router.protocols.responses.test_messages import call, messages_of


def test_the_oldest_turns_go_whole_and_system_messages_stay() -> None:
    messages = messages_of(
        {"role": "user", "content": "1"},
        call("a"),
        {"type": "function_call_output", "call_id": "a", "output": "x"},
        {"role": "assistant", "content": "one"},
        {"role": "system", "content": "rule"},
        {"role": "user", "content": "2"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "3"},
        instructions="first",
    )
    assert num_droppable_turns(messages) == 2
    system = [{"role": "system", "content": "first"}, {"role": "system", "content": "rule"}]
    assert without_oldest_turns(messages, 1) == [*system, *messages[-3:]]
    assert without_oldest_turns(messages, 2) == [*system, messages[-1]]
    assert num_droppable_turns(messages_of({"role": "user", "content": "1"})) == 0
