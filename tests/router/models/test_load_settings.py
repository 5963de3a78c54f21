"""Settings of a load: the request's over the model's over the config's, and what a change of them does."""

import asyncio

import pytest

from backends.fake.engine import FakeOptions
from registry.settings import ModelSettings
from router.config import Config, GenerationConfig
from router.errors import ModelLoadFailedError
from router.models.load_settings import AS_CONFIGURED, LoadSettings, config_for, load_settings_of, overlaid
from router.models.wish import Wish
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet

SLOW = FakeOptions(decode_s=0.01)


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


@with_fleet(make_config(swap_max_wait_s=0.0), llamacpp=SLOW)
async def test_running_answers_finish_before_a_changed_setting_counts(fleet: FakeFleet) -> None:
    started = asyncio.Event()
    running = asyncio.create_task(fleet.answer(max_tokens=60, on_text=lambda _: started.set()))
    await started.wait()
    fleet.load = LoadSettings(parallel=1)
    assert len(await fleet.answer()) == 8
    assert running.done()
    assert len(await running) == 60


@with_fleet(make_config(parallel=4))
async def test_a_request_may_want_another_load_for_itself(fleet: FakeFleet) -> None:
    """Two wishes for one model that differ in the load are two targets, as any two models are."""
    usual = await fleet.supervisor.lease(Wish("m"))
    usual.release()
    longer = await fleet.supervisor.lease(Wish("m", load=LoadSettings(context_length=777)))
    assert longer.client.loaded is not None
    assert longer.client.loaded.context_length == 777
    assert longer.client.loaded.max_sequences == 4
    longer.release()


@with_fleet(make_config(workers=1), llamacpp=SLOW)
async def test_a_model_may_have_more_workers_than_the_config_says(fleet: FakeFleet) -> None:
    fleet.load = LoadSettings(workers=2)
    await fleet.answer()
    await fleet.until(lambda: len(fleet.ready) == 2, "the second one is ready")
    await fleet.answer("other")
    assert len(fleet.ready) == 1
    assert fleet.num_launches["llamacpp"] == 3


def test_every_setting_of_a_load_is_one_of_a_model() -> None:
    assert set(LoadSettings.__struct_fields__) <= set(ModelSettings.__struct_fields__)


@with_fleet()
async def test_a_template_that_cannot_be_used_is_the_loads_error(fleet: FakeFleet) -> None:
    fleet.load = LoadSettings(template="{{ messages[ }}")
    with pytest.raises(ModelLoadFailedError, match="the template that is set on this model cannot be used: line 1"):
        await fleet.answer()
    fleet.load = LoadSettings(template="{{ messages }}")
    assert await fleet.answer()
