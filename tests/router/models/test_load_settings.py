"""Settings of a load: the request's over the model's over the config's, and what a change of them does."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import inspect

from registry.engines import LOCAL_ENGINES, EngineKind
from registry.errors import InvalidSettingError
from registry.settings import LOAD_SETTINGS, SETTING_KEYS, LoadSettings, ModelSettings, settings_from_text
from router.cli.models.settings import set_values
from router.config import Config, GenerationConfig, LlamaCppConfig
from router.errors import InvalidRequestError, ModelLoadFailedError
from router.http.headers import LOAD_HEADER
from router.models.load_settings import AS_CONFIGURED, config_for, load_settings_of, overlaid
from router.models.load_spec import load_spec
from router.models.model_request import ModelRequest
from router.requests.headers import read_headers
from tests.router.models.test_vision import SOURCE
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet


def test_what_is_not_set_is_as_the_config_has_it() -> None:
    config = Config(generation=GenerationConfig(context_length=100, parallel=3, workers=2))
    assert load_settings_of(ModelSettings(temperature=0.5, max_tokens=7)) == AS_CONFIGURED
    assert config_for(config, AS_CONFIGURED) is config


def test_a_models_settings_go_before_the_config_and_a_requests_before_both() -> None:
    config = Config(generation=GenerationConfig(context_length=100, parallel=3, workers=2))
    own = load_settings_of(ModelSettings(context_length=200, parallel=4))
    generation = config_for(config, overlaid(own, LoadSettings(context_length=300))).generation
    assert (generation.context_length, generation.parallel, generation.workers) == (300, 4, 2)


@with_fleet(make_config(parallel=4))
async def test_a_changed_setting_makes_the_next_request_load_again(fleet: FakeFleet) -> None:
    await fleet.answer()
    await fleet.answer()
    assert fleet.num_launches["llamacpp"] == 1
    fleet.load = LoadSettings(parallel=2, context_length=500)
    fleet.supervisor.refresh()
    assert await fleet.answer()
    assert fleet.num_launches["llamacpp"] == 2
    assert fleet.holder is not None
    assert fleet.holder.max_sequences == 2
    assert fleet.holder.client is not None
    assert fleet.holder.client.loaded is not None
    assert fleet.holder.client.loaded.context_length == 500


@with_fleet(make_config(swap_max_wait_s=0.0))
async def test_running_answers_finish_before_a_changed_setting_counts(fleet: FakeFleet) -> None:
    started = asyncio.Event()
    fleet.hold("decode")
    running = asyncio.create_task(fleet.answer(max_tokens=60, on_text=lambda _: started.set()))
    await started.wait()
    fleet.load = LoadSettings(parallel=1)
    following = asyncio.create_task(fleet.answer())
    await fleet.until(lambda: fleet.state == "draining", "the worker is to go")
    fleet.let_go("decode")
    assert len(await following) == 8
    assert running.done()
    assert len(await running) == 60


@with_fleet(make_config(parallel=4))
async def test_a_request_may_want_another_load_for_itself(fleet: FakeFleet) -> None:
    """Two requests for one model that differ in the load are two targets, as any two models are."""
    usual = await fleet.supervisor.lease(ModelRequest("m"))
    usual.release()
    longer = await fleet.supervisor.lease(ModelRequest("m", load=LoadSettings(context_length=777)))
    assert longer.client.loaded is not None
    assert longer.client.loaded.context_length == 777
    assert longer.client.loaded.max_sequences == 4
    longer.release()


@with_fleet(make_config(workers=1))
async def test_a_model_may_have_more_workers_than_the_config_says(fleet: FakeFleet) -> None:
    fleet.load = LoadSettings(workers=2)
    await fleet.answer()
    await fleet.until(lambda: len(fleet.ready) == 2, "the second one is ready")
    await fleet.answer("other")
    assert len(fleet.ready) == 1
    assert fleet.num_launches["llamacpp"] == 3


def plain_types(kind: Any) -> list[Any]:
    """Return what a value may be, but for null, and for objects that say the same as one word."""
    if isinstance(kind, inspect.UnionType):
        return [plain for part in kind.types for plain in plain_types(part)]
    if isinstance(kind, inspect.Metadata):
        return plain_types(kind.type)
    return [] if isinstance(kind, inspect.NoneType | inspect.StructType) else [kind]


def example(name: str) -> Any:
    """Return a value that a setting may have and that nothing has by default."""
    union: Any = inspect.type_info(LoadSettings)
    field = next(field.type for field in union.fields if field.name == name)
    kinds = plain_types(field)
    kind = next((kind for kind in kinds if isinstance(kind, inspect.IntType)), kinds[0])
    match kind:
        case inspect.StrType(pattern=str()):
            return "q8_0/q4_0"
        case inspect.IntType():
            return (kind.ge or 0) + 1
        case inspect.LiteralType():
            return "jaccl" if name == "backend" else kind.values[1]
        case inspect.StrType():
            return "text"
        case inspect.VarTupleType():
            return ("local", "local")
    raise AssertionError(f"say here what {name} may be")


@pytest.mark.parametrize("name", LOAD_SETTINGS)
def test_a_setting_of_a_load_is_one_field_and_all_else_follows(name: str) -> None:
    """A new one fails here until the worker's `LoadSpec`, and the config where its row says so, have it as well."""
    setting, value = LOAD_SETTINGS[name], example(name)
    typed = ",".join(value) if isinstance(value, tuple) else str(value)
    assert settings_from_text({name: typed}) == {name: value}
    load = load_settings_of(ModelSettings(**{name: value}))
    assert load == LoadSettings(**{name: value})
    if setting.is_in_header:
        assert read_headers({LOAD_HEADER: f"{name}={value}"}).load == load
    else:
        with pytest.raises(InvalidRequestError):
            read_headers({LOAD_HEADER: f"{name}={value}"})
    for section in {setting.section_for(engine) for engine in LOCAL_ENGINES} - {None}:
        own, configs = inspect.type_info(ModelSettings), inspect.type_info(type(getattr(Config(), str(section))))
        ranges = [next(field.type for field in kind.fields if field.name == name) for kind in (own, configs)]  # type: ignore[attr-defined]
        assert plain_types(ranges[0]) == plain_types(ranges[1]), "the same type and range, perhaps with null"


@pytest.mark.parametrize("name", LOAD_SETTINGS)
def test_only_the_engines_that_have_a_setting_are_told(name: str) -> None:
    load = LoadSettings(**{name: example(name)})
    for engine in LOCAL_ENGINES:
        is_told = load_spec("/m", engine, Config(), load, SOURCE) != load_spec("/m", engine, Config(), vision=SOURCE)
        assert is_told == (LOAD_SETTINGS[name].engine in {None, engine} and name != "workers")


def test_threads_may_follow_the_machine_where_the_config_has_a_number() -> None:
    config = Config(llamacpp=LlamaCppConfig(threads=3))
    assert load_spec("/m", EngineKind.LLAMACPP, config).num_threads == 3
    assert load_spec("/m", EngineKind.LLAMACPP, config, LoadSettings(threads="auto")).num_threads is None
    with pytest.raises(InvalidSettingError, match="it may be a number or one of auto, all; you gave 'most'"):
        settings_from_text({"threads": "most"})


@pytest.mark.parametrize("threads", ["auto", None])
def test_threads_that_nobody_has_set_follow_the_machine(threads: Any) -> None:
    config = Config(llamacpp=LlamaCppConfig(threads=threads))
    assert load_spec("/m", EngineKind.LLAMACPP, config).num_threads is None


@with_fleet()
async def test_a_template_that_cannot_be_used_is_the_loads_error(fleet: FakeFleet) -> None:
    fleet.load = LoadSettings(template="{{ messages[ }}")
    with pytest.raises(ModelLoadFailedError, match="the template that is set on this model cannot be used: line 1"):
        await fleet.answer()
    fleet.load = LoadSettings(template="{{ messages }}")
    assert await fleet.answer()


@pytest.mark.parametrize("key", SETTING_KEYS)
def test_the_help_of_the_command_names_every_setting(key: str) -> None:
    assert key in re.findall(r"\w+", set_values.help or "")


@pytest.mark.parametrize("name", LOAD_SETTINGS)
def test_the_docs_name_every_setting_of_a_load(name: str) -> None:
    docs = Path(__file__).parents[3] / "docs"
    assert f"`{name}`" in (docs / "registry.md").read_text().partition("## Settings")[2]
    of_the_header = (docs / "api.md").read_text().partition("The header `X-Mlxr-Load:")[2].partition("\n\n")[0]
    assert (f"`{name}`" in of_the_header) == LOAD_SETTINGS[name].is_in_header
