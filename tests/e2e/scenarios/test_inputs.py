"""Scenarios about what a user has: pictures, documents, long talks, prompts for both engines."""

from pathlib import Path

import pytest

from tests.e2e.scenarios.conftest import RunScenario

pytestmark = pytest.mark.slow


def test_pictures_become_lines_and_one_that_is_torn_costs_no_other(run_scenario: RunScenario) -> None:
    ran = run_scenario("report-folder", model=None)
    assert ran.code == 0, ran.why
    assert ran.document["model"] == "eye"
    lines = ran.document["figures"]["lines"]
    assert [line["file"] for line in lines] == ["fields-1.png", "fields-2.png", "fields-3.png"]
    assert all(set(line["report"]) == {"title", "colours"} for line in lines)
    assert list(ran.document["figures"]["refused"]) == ["torn.png"]


@pytest.mark.parametrize("name", ["report-folder", "document-questions"])
def test_a_folder_without_files_of_the_kind_is_said(name: str, run_scenario: RunScenario, tmp_path: Path) -> None:
    ran = run_scenario(name, "--input", str(tmp_path), model=None)
    assert (ran.code, ran.document) == (77, {})
    assert f"{name} cannot be run here: {tmp_path} is no folder with " in ran.said


def test_a_model_that_does_not_see_is_refused_with_one_that_does(run_scenario: RunScenario) -> None:
    ran = run_scenario("report-folder")
    assert (ran.code, ran.document) == (77, {})
    assert "tiny does not see pictures; `--model eye` has it." in ran.said


def test_documents_of_each_kind_are_read_and_asked_about(run_scenario: RunScenario) -> None:
    ran = run_scenario("document-questions")
    assert ran.code == 0, ran.why
    documents = ran.document["figures"]["documents"]
    assert [document["kind"] for document in documents] == ["pptx", "docx", "pdf", "xlsx"]
    assert all(document["prompt_tokens"] > document["num_tokens"] > 0 for document in documents)
    assert list(ran.document["figures"]["refused"]) == ["damaged.pdf"]


def test_a_users_own_documents_are_asked_about(run_scenario: RunScenario, tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("# Note\n\nThe bridge opens in May.")
    ran = run_scenario("document-questions", "--input", str(tmp_path))
    assert ran.code == 0, ran.why
    assert [document["file"] for document in ran.document["figures"]["documents"]] == ["note.md"]


def test_a_talk_goes_on_past_its_context(run_scenario: RunScenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.long_talk.CONTEXT_LENGTH", 2500)  # the fake engine's tokens are bytes
    ran = run_scenario("long-talk", model="tiny@llamacpp")
    assert ran.code == 0, ran.why
    figures = ran.document["figures"]
    assert figures["history_tokens"] > 2500 >= max(turn["used"] for turn in figures["turns"])
    assert figures["contexts"]
    assert any(turn["told"] for turn in figures["turns"])


def test_both_engines_answer_the_same_prompts(run_scenario: RunScenario, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('"one"\n{"prompt": "two"}\n{"prompt": "three", "max_tokens": 3}\n')
    ran = run_scenario("ab-prompts", "--input", str(prompts))
    assert ran.code == 0, ran.why
    figures = ran.document["figures"]
    assert [answer["prompt"] for answer in figures["answers"]] == ["one", "two", "three"]
    assert figures["equal"]["number"] == figures["equal"]["of"] == 3, "the fake engine is the same under both names"
    assert figures["speed"]["llamacpp"]["interval"]["low"] > 0


def test_a_model_with_one_engine_is_refused_with_one_that_has_both(run_scenario: RunScenario) -> None:
    ran = run_scenario("ab-prompts", model="eye")
    assert (ran.code, ran.document) == (77, {})
    assert "eye has no form for mlx; `--model tiny` has it." in ran.said
