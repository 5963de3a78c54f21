"""single-shot: one question, one answer, and where its time went.

The smallest program over the API: what everything else here is made of.
"""

from examples.stage.scenario import Scenario, Stage

QUESTION = "Why is the sky blue? Answer in one sentence."


def run(stage: Stage) -> None:
    """Ask once."""
    answer = stage.server.ask(QUESTION, max_tokens=48)
    timings = answer.timings
    stage.say(f"> {QUESTION}")
    stage.say(answer.text)
    stage.say()
    stage.table(
        ("ENGINE", "WORKER", "PID", "QUEUE ms", "LOAD ms", "PROMPT", "CACHED", "PREFILL ms", "TOKENS", "DECODE ms"),
        [
            (
                *(timings.engine, answer.worker.id, answer.worker.pid),
                *(round(timings.queue_ms, 1), round(timings.load_ms)),
                *(answer.usage.prompt_tokens, timings.cache_n, round(timings.prompt_ms, 1)),
                *(timings.predicted_n, round(timings.predicted_ms, 1)),
            )
        ],
    )
    stage.figures |= {
        "answer": answer.text,
        "pid": answer.worker.pid,
        "ttft_ms": answer.ttft_ms,
        "total_ms": answer.total_ms,
        "prompt_tokens": answer.usage.prompt_tokens,
        "cached_tokens": timings.cache_n,
        "output_tokens": answer.usage.completion_tokens,
    }
    stage.check("an answer came", bool(answer.text), f"{answer.usage.completion_tokens} tokens")
    pids = [worker.pid for worker in stage.server.client.status().workers]
    stage.check("its worker is one that the server shows", answer.worker.pid in pids, f"PID {answer.worker.pid}")


SCENARIO = Scenario("single-shot", "One question, one answer, and where its time went.", run)
