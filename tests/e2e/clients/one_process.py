"""Runs the scripts beside it one after another in one process, whose libraries take seconds to import.

A line of stdin is a list: a script's path and its arguments. The answer is a line: `{"result": ...}`, what the script
printed last, or `{"error": ...}`, its traceback.
"""

import contextlib
import gc
import io
import json
import os
import runpy
import sys
import traceback


def main() -> None:
    # httpcore's pool holds a lock that is not taken twice, and closing a stream that nobody has any more takes it too:
    # where the collector finds such a stream while the pool is at work, the process would stand still for ever.
    gc.disable()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        sys.argv = json.loads(line)
        print(json.dumps(_answer(sys.argv[0])), file=answers, flush=True)
        gc.collect()


def _answer(script: str) -> dict[str, object]:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(script, run_name="__main__")
    except (Exception, SystemExit):  # noqa: BLE001 - it is the test's
        return {"error": traceback.format_exc()}
    return {"result": json.loads(printed.getvalue().splitlines()[-1])}


main()
