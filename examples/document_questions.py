"""document-questions: a folder of documents (PDF, DOCX, PPTX, XLSX), and a question about each.

The server reads each document once, says what it takes of the model's context, and quotes it in front of the question.
`--input FOLDER` asks about your own. The scenario's own are four small ones about a museum of clocks, and one that is
damaged: it is named, and the others are read all the same.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from examples.stage.needs import MissingError
from examples.stage.scenario import Scenario, Stage
from router.cli.client.errors import ServerAnswerError

SAMPLES = Path(__file__).parent / "samples" / "documents"
SUFFIXES = frozenset({".pdf", ".docx", ".pptx", ".xlsx", ".ods", ".html", ".csv", ".md", ".txt"})
OWN = {
    "guided-tour.pptx": ("45 minutes", "How long does the guided tour take?"),
    "opening-hours.docx": ("Teodor Varga", "Who winds the clocks on Mondays?"),
    "tower-clock.pdf": ("Ilse Lindqvist", "Who made the tower clock?"),
    "visitors.xlsx": ("1873", "How many visitors came in June?"),
}
"""By name: what is in it, and what is asked."""

DAMAGED = ("damaged.pdf", b"%PDF-1.7\nThe rest of this file is lost.")
QUESTION = "What is this document about? Answer in one sentence."
ANSWER_TOKENS = 32
PATIENCE_S = 300.0


def documents_of(stage: Stage) -> list[tuple[str, bytes]]:
    """Return the documents to ask about, with their names.

    Raises:
        MissingError: The folder has none.
    """
    folder: Path = stage.given or SAMPLES
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise MissingError(f"{folder} is no folder with documents ({', '.join(sorted(SUFFIXES))}); name another one.")
    found = [(path.name, path.read_bytes()) for path in paths]
    return found if stage.given is not None else [*found, DAMAGED]


def run(stage: Stage) -> None:
    """Read each, ask about it, forget it."""
    rows: list[dict[str, Any]] = []
    refused = {}
    documents = documents_of(stage)
    for name, data in documents:
        try:
            rows.append(ask_about(stage, name, data))
        except ServerAnswerError as exc:
            if exc.code != "invalid_document":
                raise
            refused[name] = str(exc)
            stage.say(f"{name}: {exc}")
    stage.say()
    head = ("FILE", "KIND", "PAGES", "CHARS", "TOKENS", "OF THE CONTEXT", "PROMPT")
    keys = ("file", "kind", "num_pages", "num_chars", "num_tokens", "share", "prompt_tokens")
    stage.table(head, [[row[key] for key in keys] for row in rows])
    stage.figures |= {"documents": rows, "refused": refused}
    shown = [row["prompt_tokens"] > row["num_tokens"] for row in rows]
    stage.check("the model was shown all of each document", all(shown), f"{sum(shown)} of {len(rows)}")
    expected = set()
    if stage.given is None:
        expected = {DAMAGED[0]}
        found = [row["file"] for row in rows if row["has_known_words"]]
        stage.check("what stands in each was read", sorted(found) == sorted(OWN), ", ".join(found))
    stage.check(
        "a document that cannot be read costs no other one",
        set(refused) == expected and len(rows) + len(refused) == len(documents),
        f"{len(rows)} read, {len(refused)} named",
    )


def ask_about(stage: Stage, name: str, data: bytes) -> dict[str, Any]:
    """Have one document read and a question about it answered; return what is known of both."""
    client = stage.server.client
    query = f"?name={quote(name, safe='')}&model={quote(stage.model, safe='')}"
    document = client.post_bytes(f"/v1/mlxr/documents{query}", dict[str, Any], data, PATIENCE_S)
    words, question = OWN.get(name, ("", QUESTION)) if stage.given is None else ("", QUESTION)
    parts = [
        {"type": "file", "file": {"filename": name, "file_id": document["id"]}},
        {"type": "text", "text": question},
    ]
    answer = stage.server.ask([{"role": "user", "content": parts}], max_tokens=ANSWER_TOKENS)
    client.delete(f"/v1/mlxr/documents/{quote(document['id'], safe='')}", dict[str, Any])
    stage.say(f"{name}: {question}\n{answer.text}")
    return {key: document[key] for key in ("kind", "num_pages", "num_chars", "num_tokens", "notes")} | {
        "file": name,
        "share": f"{document['num_tokens'] / document['context_length']:.1%}",
        "has_known_words": words in document["markdown"],
        "prompt_tokens": answer.usage.prompt_tokens,
        "question": question,
        "answer": answer.text,
    }


SCENARIO = Scenario(
    "document-questions",
    "A question about each document of a folder: PDF, DOCX, PPTX, XLSX.",
    run,
    takes="a folder of documents",
)
