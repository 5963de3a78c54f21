"""Chat templates: what honest ones need works, what hostile ones try ends as one error within the deadline."""

import contextlib
import datetime as dt
import functools
import gc
import itertools
import json
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from backends.errors import PromptError, TemplateError
from backends.prompting import chat_template
from backends.prompting.chat_template import MAX_TEMPLATE_CHARS, ChatTemplate, check_template
from tests.support import tiny_model
from tests.support.waiting import WITHIN_S

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi <b>&</b>"}]


def render(source: str, **template_kwargs: object) -> str:
    return ChatTemplate(source, bos_text="<s>", eos_text="</s>").render(MESSAGES, None, template_kwargs)


class TestHonestTemplates:
    def test_renders_turns_and_the_generation_prompt(self) -> None:
        assert render(tiny_model.CHAT_TEMPLATE) == (
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <b>&</b><|im_end|>\n<|im_start|>assistant\n"
        )

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("{{ bos_token }}{{ eos_token }}", "<s></s>"),
            ("{{ messages[1]['content'] }}", "Hi <b>&</b>"),
            ("{{ messages[0].role }}", "system"),
            ("{{ missing is defined }}{{ missing }}", "False"),
            ("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}x{% endfor %}", "x"),
            ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}x{% endfor %}", "x"),
            ("{% generation %}a{{ bos_token }}{% endgeneration %}b", "a<s>b"),
            ("  {% if true %}\n  a\n  {% endif %}\nb", "  a\nb"),
            (
                "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
                "2",
            ),
            ("{{ {'b': 1, 'a': '<ü>'} | tojson }}", '{"b": 1, "a": "<ü>"}'),
            ("{{ {'a': 1} | tojson(indent=2) }}", '{\n  "a": 1\n}'),
            ("{{ 'abc'[::-1] }}{{ 'a' * 3 }}{{ 2 ** 10 }}", "cbaaaa1024"),
            ("{{ messages | map(attribute='role') | join(',') }}", "system,user"),
            ("{{ ' x '.strip() }}{{ 'a-b'.split('-')[1] }}", "xb"),
        ],
    )
    def test_what_templates_use(self, source: str, expected: str) -> None:
        assert render(source) == expected

    def test_the_date_is_todays(self) -> None:
        today = {dt.datetime.now().astimezone().strftime("%d %b %Y")}
        text = render("{{ strftime_now('%d %b %Y') }}")
        assert text in today | {dt.datetime.now().astimezone().strftime("%d %b %Y")}

    def test_further_variables_reach_the_template(self) -> None:
        assert render("{{ enable_thinking }}", enable_thinking=False) == "False"

    @pytest.mark.parametrize("name", ["messages", "bos_token", "eos_token", "add_generation_prompt"])
    def test_reserved_variables_cannot_be_replaced(self, name: str) -> None:
        source = "{{ messages | length }}{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}"
        assert render(source, **{name: "evil"}) == "2<s></s>True"

    @pytest.mark.parametrize("name", ["self", "context", "args", "kwargs", "environment", "range", "not an identifier"])
    def test_odd_names_are_only_variables(self, name: str) -> None:
        assert render("{{ bos_token }}", **{name: "evil"}) == "<s>"

    def test_a_refusal_by_the_template_is_an_error_with_its_words(self) -> None:
        with pytest.raises(PromptError, match="roles must alternate") as caught:
            render("{{ raise_exception('roles must alternate') }}")
        assert caught.value.param == "messages"

    def test_rendering_changes_neither_the_messages_nor_the_next_rendering(self) -> None:
        template = ChatTemplate("{% set x = x | default(0) + 1 %}{{ x }}", bos_text="", eos_text="")
        before = json.dumps(MESSAGES)
        assert template.render(MESSAGES) == template.render(MESSAGES) == "1"
        assert json.dumps(MESSAGES) == before


ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__base__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].system('id') }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__code__ }}",
    "{{ ''|attr('__class__') }}",
    "{{ (''|attr('format'))('{0.__class__}') }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{{ '{a.__class__}'.format_map({'a': ''}) }}",
    "{% set f = '{0.__class__}'.format %}{{ f('') }}",
    "{{ ['{0.__class__}'] | map('format', '') | list }}",
    "{{ range.__self__ }}",
    "{{ namespace.__init__.__globals__ }}",
]
CHANGES = [
    "{{ messages.append(1) }}",
    "{{ messages.clear() }}",
    "{{ messages[0].update(role='x') }}",
    "{{ messages[0].pop('role') }}",
    "{% set messages[0].role = 'x' %}",
]
BOMBS = [
    "{{ 'a' * 2000000000 }}",
    "{{ 'a' * 2e9 }}",
    "{{ [0] * 10**9 }}",
    "{{ ''.center(10**9) }}",
    "{{ ''.ljust(2000000000) }}",
    "{{ '' | center(2000000000) }}",
    "{{ [1] | batch(2000000000, 0) | list }}",
    "{{ '%2000000000d' % 1 }}",
    "{{ '%2000000000d' | format(1) }}",
    "{{ '{:2000000000}'.format(1) }}",
    "{{ 'a' | indent(2000000000, true) }}",
    "{{ 999999 ** 999999 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ range(10**9) | list }}",
    "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}",
    "{% set x = 'a' * 1000000 %}{{ x.replace('a', x) }}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3,
    "{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
]
BROKEN = [
    "{% if %}",
    "{{",
    "{% for x in y %}",
    "{% endfor %}",
    "{{ x | nosuchfilter }}",
    "{% include 'other' %}",
    "{% extends 'other' %}",
    "{% import 'os' as os %}",
    "{{ 1 / 0 }}",
    "{{ none.x.y }}",
    "{{ messages[99].role }}",
    "{{ 'a' + 1 }}",
    "{{ 'x' | int + none }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "9" * 5000 + " }}",
    "{% for x in [1] %}" * 30 + "x" + "{% endfor %}" * 30,
    "{{ '\\ud800' }}",
    "{{ raise_exception('\\ud800') }}",
    "{{ strftime_now('\\x00') | int + none }}",
]


def bounds() -> tuple[object, ...]:
    return (
        resource.getrlimit(resource.RLIMIT_AS),
        signal.getsignal(signal.SIGALRM),
        signal.getitimer(signal.ITIMER_REAL)[0] > 0,
    )


class AlarmAt:
    """An alarm that rings at the Nth call or return of what runs."""

    def __init__(self, place: int) -> None:
        self._place = place
        self.seen: list[str] = []
        self.has_rung = False

    def end_of(self, work: Callable[[], object]) -> type[Exception] | None:
        """Return the kind of error with which it ends."""
        sys.setprofile(self._on_event)
        try:
            work()
        except TemplateError as exc:
            return type(exc)
        finally:
            sys.setprofile(None)
        return None

    def _on_event(self, frame: FrameType, event: str, argument: object) -> None:
        self.seen.append(f"{event} {frame.f_code.co_name} {argument!r}")
        if len(self.seen) == self._place + 1:
            self.has_rung = True
            signal.raise_signal(signal.SIGALRM)


@contextlib.contextmanager
def handled(handler: Callable[..., None]) -> Iterator[None]:
    """Let a handler of one's own hear alarms, as the system's would end the process."""
    previous = signal.signal(signal.SIGALRM, handler)
    yield
    signal.signal(signal.SIGALRM, previous)


class TestHostileTemplates:
    @pytest.mark.parametrize("source", ESCAPES)
    def test_escapes_reach_nothing(self, source: str) -> None:
        try:
            text = render(source)
        except TemplateError:
            return
        assert "class" not in text
        assert "uid=" not in text
        assert "function" not in text
        assert "{'__" not in text

    @pytest.mark.parametrize("source", CHANGES)
    def test_messages_cannot_be_changed(self, source: str) -> None:
        before = json.dumps(MESSAGES)
        with pytest.raises(TemplateError):
            render(source)
        assert json.dumps(MESSAGES) == before

    @pytest.mark.parametrize("source", BOMBS, ids=range(len(BOMBS)))
    def test_time_and_memory_are_bounded(self, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat_template, "MAX_RENDER_S", 0.3)
        gc.collect()  # what other tests have left is not to be destroyed while the alarm comes
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(TemplateError):
            render(source)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kib < 400 * 1024

    def test_an_alarm_that_is_lost_in_a_destructor_comes_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat_template, "MAX_RENDER_S", 0.05)
        lost: list[sys.UnraisableHookArgs] = []
        # Told to what is not written in Python: the next alarm cannot come in the midst of it, as in a test runner's.
        monkeypatch.setattr(sys, "unraisablehook", lost.append)
        begun_at = time.monotonic()

        class Slow:
            def __del__(self) -> None:
                while time.monotonic() - begun_at < WITHIN_S:
                    pass

        def work() -> None:
            slow = Slow()
            del slow  # ended by the first alarm, of which nobody else hears
            while time.monotonic() - begun_at < WITHIN_S:
                pass

        with pytest.raises(TemplateError):
            chat_template._bounded(work)
        assert [each.exc_type for each in lost] == [TemplateError]

    def test_whenever_an_alarm_comes_the_bounds_are_lifted_afterwards(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between any two calls and returns, also the last, where it finds nothing that it could end."""
        monkeypatch.setattr(chat_template, "MAX_RENDER_S", 0.0)
        ends = []
        with handled(lambda *_: None):
            before = bounds()
            for place in itertools.count():
                alarm = AlarmAt(place)
                ends.append(alarm.end_of(lambda: chat_template._bounded(time.thread_time)))
                assert bounds() == before, alarm.seen
                if not alarm.has_rung:
                    break
        assert ends.count(TemplateError) > 2

    def test_a_wait_for_the_processor_is_not_held_against_a_template(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ring = functools.partial(signal.raise_signal, signal.SIGALRM)
        chat_template._bounded(ring)  # as it comes by the clock, though this thread has not worked so long
        monkeypatch.setattr(chat_template, "MAX_RENDER_S", 0.0)  # it has now
        with pytest.raises(TemplateError, match="of a processor"):
            chat_template._bounded(ring)

    @pytest.mark.parametrize("source", BROKEN, ids=range(len(BROKEN)))
    def test_whatever_is_wrong_is_one_kind_of_error(self, source: str) -> None:
        with pytest.raises(PromptError, match="chat template") as caught:
            render(source)
        str(caught.value).encode()

    def test_a_huge_template_is_refused(self) -> None:
        with pytest.raises(TemplateError, match=str(MAX_TEMPLATE_CHARS)):
            render("x" * (MAX_TEMPLATE_CHARS + 1))

    def test_the_bounds_are_lifted_afterwards(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_AS)
        handler = signal.getsignal(signal.SIGALRM)
        with pytest.raises(TemplateError):
            render("{{ '' | center(2000000000) }}")
        assert resource.getrlimit(resource.RLIMIT_AS) == limits
        assert signal.getsignal(signal.SIGALRM) is handler

    def test_an_alarm_of_somebody_else_still_goes_off(self) -> None:
        before = signal.getitimer(signal.ITIMER_REAL)[0]
        render("x")
        after = signal.getitimer(signal.ITIMER_REAL)[0]
        assert (after > 0) == (before > 0)

    def test_other_threads_render_without_an_alarm(self) -> None:
        texts: list[str] = []
        thread = threading.Thread(target=lambda: texts.append(render("{{ bos_token }}")))
        thread.start()
        thread.join()
        assert texts == ["<s>"]


def test_a_check_names_the_line_of_a_mistake() -> None:
    check_template(tiny_model.TOOL_TEMPLATE)
    with pytest.raises(TemplateError, match=r"line 2: .*endfor"):
        check_template("a\n{% endfor %}")
    with pytest.raises(TemplateError, match="more than"):
        check_template("a" * (MAX_TEMPLATE_CHARS + 1))
    with pytest.raises(TemplateError, match="does not use `messages`"):
        check_template("{{ bos_token }}{% set messages = [] %}{{ messages }}")
