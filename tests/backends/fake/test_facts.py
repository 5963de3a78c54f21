from backends.fake.facts import UNKNOWN, fact_asked_for, facts_in
from router.bench.plan.talks import talk_of


def test_all_facts_of_a_talk_are_read_in_their_last_form() -> None:
    talk = talk_of(seed=3, round_number=0, num_turns=200)
    told = "\n".join(talk.turns)
    read = facts_in(told)
    assert read.count("\n") == len(talk.facts)
    assert facts_in(f"{told}\n{read}") == facts_in(read) == read
    for fact in talk.facts:
        assert fact.recall(fact_asked_for(f"{told}\n{fact.question}")) == "right"
        assert fact.told(len(fact.values) - 1).removeprefix("I have changed my mind. ") in read


def test_what_was_not_said_is_not_known() -> None:
    assert fact_asked_for("What is the gate code?") == UNKNOWN
    assert fact_asked_for("Remember: the gate code is 12.") == UNKNOWN
    assert (
        fact_asked_for("Remember: the gate code is 12. Remember: the gate is a/b.csv.\nWhat is the gate?") == "a/b.csv"
    )
