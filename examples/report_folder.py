"""report-folder: a folder of pictures becomes lines of JSON by a schema, one for each picture.

`--input FOLDER` reports your own. The scenario's own pictures are drawn from the seed, and one of them is torn: it is
named, and the others are reported all the same. `mlxr report FOLDER` does the same for daily use.
"""

import base64
import json
from pathlib import Path
from typing import Any

from examples.stage.needs import MissingError, Needs
from examples.stage.scenario import Scenario, Stage
from router.bench.plan.pictures import picture_png
from router.bench.plan.texts import generator
from router.cli.client.errors import ServerAnswerError

NUM_PICTURES = 3
SIDE = 96
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})
PATIENCE_S = 600.0
"""For one report: it is background work, and waits while others are served."""

COLOURS = ("red", "green", "blue", "yellow", "white", "black", "grey", "brown", "orange", "violet")
FIELDS = ("title", "colours")
SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 40},
        "colours": {"type": "array", "items": {"enum": list(COLOURS)}, "minItems": 1, "maxItems": 4},
    },
    "required": list(FIELDS),
    "additionalProperties": False,
}
MAX_TOKENS = 160
THE_PICTURES_FAULT = frozenset({"invalid_image", "report_cut", "context_length_exceeded"})

Picture = tuple[str, bytes]


def pictures_of(stage: Stage) -> list[Picture]:
    """Return the pictures to report, with their names.

    Raises:
        MissingError: The folder has none.
    """
    if stage.given is None:
        draw = generator(stage.seed, "report-folder")
        drawn = [(f"fields-{number}.png", picture_png(draw, SIDE, SIDE)) for number in range(1, NUM_PICTURES + 1)]
        return [*drawn, ("torn.png", drawn[0][1][:60])]
    folder: Path = stage.given
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise MissingError(f"{folder} is no folder with pictures ({', '.join(sorted(SUFFIXES))}); name another one.")
    return [(path.name, path.read_bytes()) for path in paths]


def run(stage: Stage) -> None:
    """Report each, one after the other."""
    lines, refused = [], {}
    pictures = pictures_of(stage)
    for name, data in pictures:
        try:
            answer = report(stage, data)
        except ServerAnswerError as exc:
            if exc.code not in THE_PICTURES_FAULT:
                raise
            refused[name] = str(exc)
            stage.say(f"{name}: {exc}")
            continue
        line = {"file": name, "report": answer["report"], "images": answer["images"]}
        lines.append(line)
        stage.say(json.dumps(line))
    stage.figures |= {"lines": lines, "refused": refused}
    whole = [line for line in lines if set(line["report"]) == set(FIELDS)]
    stage.check("each report keeps to the schema", len(whole) == len(lines), f"{len(whole)} of {len(lines)}")
    rows = [sum(image["tokens"] for image in line["images"]) for line in lines]
    stage.check("the model was shown each picture", all(rows), f"as {', '.join(map(str, rows))} tokens")
    expected = {"torn.png"} if stage.given is None else set()
    stage.check(
        "a picture that cannot be used costs no other one",
        set(refused) == expected and len(lines) + len(refused) == len(pictures),
        f"{len(lines)} reported, {len(refused)} named",
    )


def report(stage: Stage, data: bytes) -> dict[str, Any]:
    """Have one picture reported."""
    uri = f"data:image/*;base64,{base64.b64encode(data).decode()}"
    body = {"model": stage.model, "images": [uri], "schema": SCHEMA, "max_tokens": MAX_TOKENS}
    return stage.server.client.post("/v1/mlxr/report", dict[str, Any], body, PATIENCE_S)


SCENARIO = Scenario(
    "report-folder",
    "Pictures to lines of JSON by a schema; one that is torn costs no other one.",
    run,
    Needs(sees=True),
    takes="a folder of pictures",
)
