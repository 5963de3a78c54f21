"""Random JSON schemas on both real engines, batched, at a high temperature: every finished answer validates."""

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from backends.constraints.compiler import ConstraintCompiler
from backends.constraints.grammar import AnswerGrammar
from backends.logits import Matcher
from backends.wire.messages import Finished
from backends.wire.request import Constraint, ConstraintKind, SamplingParams
from tests.backends.constraints.test_json_schemas import NODE, schemas
from tests.support.engine_driver import EngineDriver
from tests.support.waiting import WITHIN_S

pytestmark = pytest.mark.slow

NUM_BATCHES = 40
BATCH = 4
MAX_TOKENS = 160
# A random model hardly ever draws what ends a text, a number or a list by itself.
BIASES = {'"}]': 5.0, ",:": 2.0, "0123456789": 2.0, "{[": -3.0}


def test_every_finished_answer_validates(real_driver: EngineDriver) -> None:
    tokenizer = real_driver.engine.tokenizer
    compiler = ConstraintCompiler(tokenizer)
    bias = tuple(
        (tokenizer.encode(letter, add_bos=False)[0], value) for letters, value in BIASES.items() for letter in letters
    )
    num_run = num_finished = 0

    @given(batch=st.lists(schemas, min_size=BATCH, max_size=BATCH), seed=st.integers(0, 2**32 - 2))
    @settings(
        max_examples=NUM_BATCHES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],
    )
    def run(batch: list[Any], seed: int) -> None:
        nonlocal num_run, num_finished
        running: dict[int, dict[str, Any]] = {}
        for schema in batch:
            whole = {**(schema if isinstance(schema, dict) else {}), "$defs": {"node": NODE}}
            matcher = _matcher(compiler, whole)
            if matcher is not None:
                sampling = SamplingParams(temperature=1.5, seed=seed, logit_bias=bias)
                running[real_driver.submit("x", sampling, max_tokens=MAX_TOKENS, matcher=matcher)] = whole
        real_driver.run()
        for sequence_id, whole in running.items():
            answer = real_driver.answers[sequence_id]
            (terminal,) = answer.terminals
            assert isinstance(terminal, Finished), terminal
            num_run += 1
            if terminal.end.reason == "stop":
                num_finished += 1
                jsonschema.Draft202012Validator(whole).validate(json.loads(answer.text))

    run()
    assert num_run >= 130
    assert num_finished > num_run * 0.5


def _matcher(compiler: ConstraintCompiler, schema: dict[str, Any]) -> Matcher | None:
    """Return a fresh matcher, None for a schema that is refused."""
    pending = compiler.submit(
        AnswerGrammar(Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(schema), "response_format"))
    )
    pending.is_done.wait(WITHIN_S)
    result = pending.poll(0)
    return result if isinstance(result, Matcher) else None
