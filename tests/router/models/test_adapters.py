"""Which engine an adapter runs on, what it adds to a load, and files that are not as they were."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from backends.wire.load import LoadSpec
from registry.adapters.registration import register_adapter
from registry.catalogue import Adapter, Artifact, Model
from registry.engines import Engine, EngineKind, EngineSetting
from registry.errors import AdapterNotFoundError, InvalidModelNameError
from registry.facts import AdapterFacts, ArtifactFormat, MemoryFacts, ModelKind
from registry.scan import register_path
from registry.scan.watch import what_changed
from registry.settings import ModelSettings
from registry.store import Registry
from router.config import Config, CurrentConfig
from router.errors import EngineNotAvailableError, InvalidRequestError, ModelLoadFailedError
from router.models.adapters import facts_with
from router.models.directory import ModelDirectory
from router.models.engine_choice import choose
from router.models.file_checks import CHECK_FILES_INTERVAL_S
from router.models.targets import Choice, EngineReason, Purpose
from router.placement.memory import Machine
from router.placement.memory_need import memory_need
from router.protocols.abilities import Abilities
from router.protocols.models import adapter_object, model_objects
from tests.registry.catalogue_builder import make_facts
from tests.support import tiny_adapter

FORMATS = {"mlx": ArtifactFormat.MLX, "llamacpp": ArtifactFormat.GGUF}
NO_METAL = Machine(has_metal=False, is_arm=False)


def artifact(engine: str, **changes: Any) -> Artifact:
    plain = Artifact(
        id=1 if engine == "mlx" else 2,
        model_name="m",
        format=FORMATS[engine],
        path=f"/models/{engine}",
        files=(),
        mmproj_path=None,
        size_bytes=1,
        mtime_ns=1,
        sha256=None,
        status="ok",
        reason=None,
        is_owned=False,
        facts=make_facts(FORMATS[engine]),
    )
    return msgspec.structs.replace(plain, **changes)


def adapter(engine: str, name: str = "fox", *, weight_bytes: int = 1000, num_weights: int = 500) -> Adapter:
    return Adapter(
        id=7 if engine == "mlx" else 8,
        model_name="m",
        name=name,
        format=FORMATS[engine],
        path=f"/loras/{engine}/{name}",
        files=(f"/loras/{engine}/{name}",),
        size_bytes=16,
        mtime_ns=3,
        scale=0.5,
        facts=AdapterFacts(
            format=FORMATS[engine],
            method="lora",
            architecture=None,
            rank=4,
            scale=2.0,
            num_tensors=2,
            num_weights=num_weights,
            weight_bytes=weight_bytes,
        ),
    )


def model(
    *adapters: Adapter, artifacts: tuple[Artifact, ...] | None = None, engine: EngineSetting | None = None
) -> Model:
    return Model(
        name="m",
        artifacts=(artifact("llamacpp"), artifact("mlx")) if artifacts is None else artifacts,
        engine=engine,
        aliases=("nick",),
        created_at=5.0,
        last_used_at=None,
        adapters=adapters,
    )


def choice_of(
    known: Model,
    requested: EngineSetting | None = None,
    *,
    setting: EngineSetting = EngineSetting.AUTO,
    is_mac: bool = False,
) -> Choice:
    return choose(known, requested=requested, global_setting=setting, is_apple_silicon=is_mac, adapter="fox")


class TestEngine:
    @pytest.mark.parametrize("is_mac", [False, True])
    @pytest.mark.parametrize("engine", ["mlx", "llamacpp"])
    def test_auto_takes_the_engine_that_has_the_adapter(self, engine: str, *, is_mac: bool) -> None:
        other = "mlx" if engine == "llamacpp" else "llamacpp"
        target = choice_of(model(adapter(engine), adapter(other, "owl")), is_mac=is_mac).target
        assert (str(target.engine), target.local.path, target.label) == (engine, f"/models/{engine}", "m+fox")
        assert target.adapter is not None
        assert (target.adapter.path, target.adapter.scale) == (f"/loras/{engine}/fox", 0.5)

    def test_with_both_the_rule_is_as_without_adapters(self) -> None:
        both = model(adapter("llamacpp"), adapter("mlx"))
        assert choice_of(both).reason is EngineReason.AUTO_GGUF
        assert choice_of(both, is_mac=True).reason is EngineReason.AUTO_APPLE_SILICON
        assert choice_of(both, EngineSetting.MLX).target.engine == Engine(EngineKind.MLX)

    @pytest.mark.parametrize("level", ["request", "model", "config"])
    def test_an_engine_that_is_set_and_lacks_it_is_refused_with_the_way_out(self, level: str) -> None:
        mlx = EngineSetting.MLX
        known = model(adapter("llamacpp"), engine=mlx if level == "model" else None)
        with pytest.raises(EngineNotAvailableError) as caught:
            choice_of(
                known,
                mlx if level == "request" else None,
                setting=mlx if level == "config" else EngineSetting.AUTO,
            )
        assert "'m+fox' cannot run on 'mlx'" in str(caught.value)
        assert "it has artifacts for: llamacpp" in str(caught.value)
        assert "mlxr models adapter add m PATH --name fox" in str(caught.value)

    def test_an_adapter_whose_base_is_gone_names_the_base(self) -> None:
        known = model(adapter("mlx"), artifacts=(artifact("llamacpp"), artifact("mlx", status="missing")))
        with pytest.raises(EngineNotAvailableError, match="mlxr models add PATH --name m"):
            choice_of(known)

    def test_an_unknown_one_names_those_there_are(self) -> None:
        with pytest.raises(AdapterNotFoundError, match=r"no adapter 'fox'. It has: m\+owl."):
            choice_of(model(adapter("mlx", "owl")))
        with pytest.raises(AdapterNotFoundError, match="It has none"):
            choice_of(model())

    def test_it_is_another_target_than_the_base_and_than_another_version(self) -> None:
        known = model(adapter("llamacpp"))
        base = choose(known, requested=None, global_setting=EngineSetting.AUTO, is_apple_silicon=False).target
        changed = model(msgspec.structs.replace(adapter("llamacpp"), mtime_ns=4))
        assert len({base, choice_of(known).target, choice_of(changed).target}) == 3
        assert (base.model, base.label, base.adapter) == ("m", "m", None)

    def test_an_embedding_model_may_have_one(self) -> None:
        encoder = artifact("llamacpp", facts=msgspec.structs.replace(make_facts(), kind=ModelKind.EMBEDDING))
        known = model(adapter("llamacpp"), artifacts=(encoder,))
        choice = choose(
            known,
            requested=None,
            global_setting=EngineSetting.AUTO,
            is_apple_silicon=False,
            purpose=Purpose.EMBED,
            adapter="fox",
        )
        assert choice.target.label == "m+fox"


class TestHosts:
    def test_an_adapter_over_hosts_is_refused_by_name_on_mlx_alone(self) -> None:
        settings = ModelSettings(hosts=("local", "local"))
        both = msgspec.structs.replace(model(adapter("llamacpp"), adapter("mlx")), settings=settings)
        assert choice_of(both).target.engine == Engine(EngineKind.LLAMACPP)
        with pytest.raises(InvalidRequestError, match=r"spread over hosts .* without '\+fox'.* set m hosts="):
            choice_of(both, EngineSetting.MLX)


class TestMemory:
    def test_its_weights_count(self) -> None:
        facts = make_facts()
        overlay = adapter("llamacpp", weight_bytes=1000, num_weights=500)
        settings = LoadSpec(model_path="")
        before, after = (
            memory_need(each, settings, NO_METAL).required_bytes for each in (facts, facts_with(facts, overlay))
        )
        assert after - before == 1000

    @pytest.mark.parametrize(("weight_bytes", "expected"), [(1000, 2000), (2000, 2000)])
    def test_on_mlxs_cpu_halves_become_whole(self, weight_bytes: int, expected: int) -> None:
        facts = make_facts(ArtifactFormat.MLX)
        facts = msgspec.structs.replace(facts, memory=MemoryFacts())
        overlay = adapter("mlx", weight_bytes=weight_bytes, num_weights=500)
        before, after = (
            memory_need(each, LoadSpec(model_path=""), NO_METAL).weights_bytes
            for each in (facts, facts_with(facts, overlay))
        )
        assert after - before == expected

    def test_none_changes_nothing(self) -> None:
        facts = make_facts()
        assert facts_with(facts, None) is facts


def test_lists_have_each_adapter_once_beside_its_base() -> None:
    known = model(adapter("llamacpp"), adapter("mlx"), adapter("mlx", "owl"))
    abilities = Abilities(
        artifact=None, context_length=8192, trained_length=None, loaded_length=None, can=("completion", "tools")
    )
    base, fox, owl = model_objects(known, abilities)
    assert (base.id, fox.id, owl.id) == ("m", "m+fox", "m+owl")
    assert base.parent is UNSET
    assert (fox.parent, fox.engines, fox.aliases) == ("m", ["llamacpp", "mlx"], ["nick+fox"])
    assert owl.engines == ["mlx"]
    with pytest.raises(AdapterNotFoundError):
        adapter_object(known, base, "bat")


class Times:
    """A clock that stands until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestDirectory:
    @pytest.fixture
    def registry(self, tmp_path: Path, tiny_gguf: Path) -> Iterator[Registry]:
        with Registry(tmp_path / "registry.sqlite3") as opened:
            register_path(opened, tiny_gguf, name="tiny")
            opened.aliases.set("nick", "tiny")
            register_adapter(opened, "tiny", tiny_adapter.write_gguf_lora(tmp_path / "fox.gguf"))
            yield opened

    def directory(self, registry: Registry, clock: Times) -> ModelDirectory:
        return ModelDirectory(
            registry,
            current=CurrentConfig(Config()),
            is_apple_silicon=False,
            what_changed=what_changed,
            clock=clock,
        )

    def test_references_by_name_alias_and_engine(self, registry: Registry) -> None:
        models = self.directory(registry, Times())
        for reference, engine in (("tiny+fox", None), ("NICK+Fox@llamacpp", "llamacpp")):
            request = models.model_request(reference, None)
            assert (request.model, request.adapter, request.engine, request.label) == (
                "tiny",
                "fox",
                engine,
                "tiny+fox",
            )
            assert models.resolve(request).target.label == "tiny+fox"
        assert models.model_request("tiny", None).adapter is None
        with pytest.raises(AdapterNotFoundError, match=r"It has: tiny\+fox"):
            models.model_request("tiny+owl", None)
        with pytest.raises(InvalidModelNameError, match="one adapter at a time"):
            models.model_request("tiny+fox+owl", None)

    def test_a_changed_or_vanished_file_is_refused_until_it_is_read_anew(
        self, registry: Registry, tmp_path: Path
    ) -> None:
        clock = Times()
        models = self.directory(registry, clock)
        request = models.model_request("tiny+fox", None)
        before = models.resolve(request).target
        os.utime(tmp_path / "fox.gguf", ns=(1, 1))
        clock.now += CHECK_FILES_INTERVAL_S
        with pytest.raises(ModelLoadFailedError, match=r"fox.gguf was changed; .*adapter add tiny .*--name fox"):
            models.resolve(request)
        assert models.resolve(models.model_request("tiny", None)).target.adapter is None
        register_adapter(registry, "tiny", tmp_path / "fox.gguf")
        models.forget()
        assert models.resolve(request).target != before
        (tmp_path / "fox.gguf").unlink()
        clock.now += CHECK_FILES_INTERVAL_S
        with pytest.raises(ModelLoadFailedError, match=r"fox\.gguf is gone"):
            models.resolve(request)
