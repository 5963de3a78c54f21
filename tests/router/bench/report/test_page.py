"""The page of a run: complete, escaped, without anything that a browser would fetch or run."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.bench_record import BenchNotice, BenchRecord, BenchSample
from router.bench.report.axis import LinearAxis, RatioAxis, reach_of
from router.bench.report.markup import Markup, element, join
from router.bench.report.page import as_page
from tests.support.bench_records import LLAMACPP, MLX, make_look_run, make_record, make_run, make_sample

EMPTY_ANSWER = BenchSample(contestant=1, scenario="short-chat", round=0, started_s=0.0, error="gone")
HOSTILE = "<script>alert(1)</script>\"'&\x1b\u202e"


class Reader(HTMLParser):
    """Counts elements, and sees that each one is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.classes: dict[str, int] = {}
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        for name in (dict(attrs).get("class") or "").split():
            self.classes[name] = self.classes.get(name, 0) + 1
        if tag not in {"meta", "link"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data


def svgs(page: str) -> list[ET.Element]:
    return [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]  # noqa: S314 - our own page


def test_the_page_has_every_plot_and_figure() -> None:
    page = Reader(as_page(make_run()))
    assert (page.classes["ratios"], page.classes["figures"], page.classes["timeline"]) == (1, 6, 3)
    # An answer each: two plots of two contestants, five rounds, of one, one and four streams.
    assert page.classes["dot"] == 2 * 2 * 5 * (1 + 1 + 4)
    assert page.classes["token"] == 2 * (1 + 1 + 4)
    assert page.classes["point"] == 3 * 3
    for words in (
        "mlx is faster in",
        "1012 tok/s",
        "968 to 1026",
        "The weights differ",
        "cold load",
        "perplexity 8.17",
    ):
        assert words in page.text


def test_nothing_on_the_page_is_fetched_or_run() -> None:
    page = as_page(make_run())
    assert Reader(page).tags.keys().isdisjoint({"script", "img", "iframe", "object", "form", "a"})
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"", page) == ["data:,"]
    assert "url(" not in page
    assert "@import" not in page
    assert " on" not in "".join(re.findall(r"<[^>]*>", page)).replace(" one", "")
    assert "default-src 'none'" in page.replace("&#x27;", "'")


def hostile_run() -> BenchRecord:
    contestant = msgspec.structs.replace(
        MLX,
        label=HOSTILE,
        model=HOSTILE,
        url=HOSTILE,
        quantization=HOSTILE,
        settings={HOSTILE: HOSTILE},
        engine_versions={HOSTILE: HOSTILE},
        features=HOSTILE,
        artifact_path=HOSTILE,
    )
    run = make_run(contestants=(LLAMACPP, contestant), model=HOSTILE, version=HOSTILE)
    names = {scenario.name: scenario.name + HOSTILE for scenario in run.scenarios}
    return msgspec.structs.replace(
        run,
        bench_id=HOSTILE,
        scenarios=tuple(
            msgspec.structs.replace(one, name=names[one.name], what=HOSTILE, skipped=one.skipped and HOSTILE)
            for one in run.scenarios
        ),
        samples=tuple(msgspec.structs.replace(one, scenario=names[one.scenario]) for one in run.samples),
        notices=(BenchNotice(code="x", message=HOSTILE, is_void=True, scenario=HOSTILE),),
    )


def test_texts_of_others_stay_texts() -> None:
    page = as_page(hostile_run())
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    read = Reader(page)
    assert read.text.count("<script>alert(1)</script>") >= 10
    assert read.classes["figures"] == 6


def test_each_drawing_is_sound_and_says_what_it_shows() -> None:
    drawings = svgs(as_page(hostile_run()))
    assert len(drawings) == 1 + 6 + 3
    assert {drawing.get("role") for drawing in drawings} == {"img"}
    said = [drawing.get("aria-label") or "" for drawing in svgs(as_page(make_run()))]
    assert said[0].startswith("How many times as fast mlx is as llamacpp: whole answer 1.48; first token 1.48; writing")
    assert said[1] == ("short-chat, time to first token: llamacpp 98.8 ms (97.5 to 103); mlx 68.3 ms (62.8 to 68.5)")


def test_everything_drawn_lies_inside_its_drawing() -> None:
    for drawing in svgs(as_page(make_run(ratio=7.0, noise=0.3))):
        width, height = map(float, (drawing.get("viewBox") or "").split()[2:])
        for shape in drawing.iter():
            for names, end in ((("x", "x1", "x2", "cx"), width), (("y", "y1", "y2", "cy"), height)):
                for value in (shape.get(name) for name in names):
                    assert value is None or 0 <= float(value) <= end


@pytest.mark.parametrize(
    "record",
    [
        make_record(),
        make_record(contestants=()),
        make_record([make_sample()], contestants=(LLAMACPP,)),
        make_record([make_sample(0), EMPTY_ANSWER]),
        make_record([msgspec.structs.replace(EMPTY_ANSWER, error=None)]),
        make_record([make_sample(ttft_ms=0.0, gap_ms=0.0)]),
        make_run(contestants=(LLAMACPP, MLX, MLX, MLX, MLX, MLX, MLX, MLX)),
    ],
    ids=["nothing", "nobody", "alone", "failed", "no-tokens", "no-time", "many"],
)
def test_runs_with_little_in_them_have_a_page_too(record: BenchRecord) -> None:
    assert "How to read this" in Reader(as_page(record)).text


def test_elements_escape_texts_and_attributes_but_not_each_other() -> None:
    inner = element("b", "<i>", title='"<')
    assert inner == '<b title="&quot;&lt;">&lt;i&gt;</b>'
    assert element("p", inner, None, " & ", 2.50, class_="x", aria_label=None) == (
        '<p class="x"><b title="&quot;&lt;">&lt;i&gt;</b> &amp; 2.5</p>'
    )
    assert isinstance(join("a", "b"), Markup)
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'


@given(st.floats(0.001, 1e7))
def test_a_linear_axis_has_a_few_round_marks_from_zero(end: float) -> None:
    axis = LinearAxis(end, 10.0, 110.0)
    marks = axis.marks()
    assert 3 <= len(marks) <= 7
    assert marks[0] == 0
    assert axis.place(0) == 10
    assert axis.place(end * 2) == 110
    assert all(10 <= axis.place(mark) <= 110 for mark in marks)


@given(st.lists(st.floats(0.02, 50), max_size=5))
def test_a_ratios_axis_is_even_around_one(ratios: list[float]) -> None:
    axis = RatioAxis(reach_of(ratios), 0.0, 100.0)
    assert axis.place(1.0) == 50
    assert all(0 < axis.place(ratio) < 100 for ratio in ratios)
    places = [axis.place(mark) for mark in axis.marks()]
    assert 1.0 in axis.marks()
    assert all(later - earlier > 10 for earlier, later in pairwise(places))
    assert axis.place(0.8) == pytest.approx(100 - axis.place(1.25), abs=1e-9)


def test_pictures_are_drawn_and_explained_where_there_are_some() -> None:
    page = Reader(as_page(make_look_run()))
    assert page.classes["figures"] == 4  # first token new and again, writing, the picture
    assert "6 of 10 greedy answers of mlx are those of llamacpp." in page.text
    assert "Where pictures are shown" in page.text
    assert "picture's rows" in page.text
    assert "pictures" not in Reader(as_page(make_run())).text


def test_a_peer_that_tells_nothing_of_pictures_has_none_drawn() -> None:
    samples = [
        msgspec.structs.replace(sample, encode_ms=None, num_image_tokens=None, is_image_cached=None)
        for sample in make_look_run().samples
    ]
    page = Reader(as_page(make_look_run(samples=tuple(samples))))
    assert page.classes["figures"] == 3
    assert "picture's rows" not in page.text
