from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.engines import Engine, EngineKind, EngineSetting
from registry.errors import InvalidModelNameError, ModelNotFoundError, RegistryBusyError, RegistryCorruptError
from registry.facts import ArtifactFormat
from registry.store import Registry
from router.config import Config, CurrentConfig
from router.errors import EngineNotAvailableError, InvalidRequestError, ModelLoadFailedError
from router.models.directory import ModelDirectory
from router.models.file_checks import CHECK_FILES_INTERVAL_S
from router.models.model_request import ModelRequest
from router.models.targets import EngineReason
from router.models.usage import NOTE_USE_INTERVAL_S
from tests.registry.catalogue_builder import make_draft, make_facts


class Times:
    """A clock that stands until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.sqlite3"


@pytest.fixture
def registry(path: Path) -> Iterator[Registry]:
    with Registry(path) as opened:
        opened.artifacts.add(make_draft("/m/a.gguf"))
        opened.artifacts.add(make_draft("/m/mlx", facts=make_facts(ArtifactFormat.MLX)))
        opened.artifacts.add(make_draft("/g.gguf", name="only-gguf", facts=make_facts(parameter_count=7)))
        yield opened


def directory(registry: Registry, clock: Times | None = None) -> ModelDirectory:
    return ModelDirectory(registry, current=CurrentConfig(Config()), is_apple_silicon=False, clock=clock or Times())


def test_a_reference_may_name_the_engine_and_so_may_the_header(registry: Registry) -> None:
    models = directory(registry)
    assert models.model_request("m", None) == ModelRequest("m", None)
    assert models.model_request("M@mlx", None) == ModelRequest("m", EngineSetting.MLX)
    assert models.model_request("m", EngineSetting.MLX) == ModelRequest("m", EngineSetting.MLX)
    assert models.model_request("m@mlx", EngineSetting.MLX) == ModelRequest("m", EngineSetting.MLX)


@pytest.mark.parametrize(
    ("reference", "header", "error", "words"),
    [
        ("m@mlx", EngineSetting.LLAMACPP, InvalidRequestError, "send one of the two"),
        ("m@vllm", None, InvalidModelNameError, "no engine"),
        ("../../etc/passwd", None, InvalidModelNameError, "no model name"),
        ("x" * 300, None, InvalidModelNameError, "at most 128"),
        ("nobody", None, ModelNotFoundError, "no model 'nobody'"),
    ],
)
def test_a_reference_that_means_nothing_is_refused(
    registry: Registry, reference: str, header: EngineSetting | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        directory(registry).model_request(reference, header)


def test_a_wish_is_resolved_under_the_settings_in_force(registry: Registry) -> None:
    current = CurrentConfig(Config())
    models = ModelDirectory(registry, current=current, is_apple_silicon=False)
    assert models.resolve(ModelRequest("m")).target.engine == Engine(EngineKind.LLAMACPP)
    current.take_over(Config(engine=EngineSetting.MLX))
    assert models.resolve(ModelRequest("m")).target.local.path == "/m/mlx"
    assert models.resolve(ModelRequest("m", EngineSetting.LLAMACPP)).target.local.path == "/m/a.gguf"
    with pytest.raises(EngineNotAvailableError):
        models.resolve(ModelRequest("only-gguf", EngineSetting.MLX))
    assert models.resolve(ModelRequest("only-gguf")).reason is EngineReason.FALLBACK_NO_ARTIFACT
    current.take_over(Config(engine=EngineSetting.MLX, engine_fallback="refuse"))
    with pytest.raises(EngineNotAvailableError):
        models.resolve(ModelRequest("only-gguf"))


def test_files_that_are_gone_let_the_other_engine_serve(registry: Registry) -> None:
    gone = {"/m/mlx"}
    models = ModelDirectory(
        registry,
        current=CurrentConfig(Config(engine=EngineSetting.MLX)),
        is_apple_silicon=False,
        what_changed=lambda each: f"{each.path} is gone" if each.path in gone else None,
    )
    choice = models.resolve(ModelRequest("m"))
    assert (choice.target.local.path, choice.reason) == ("/m/a.gguf", EngineReason.FALLBACK_LOAD_FAILED)
    with pytest.raises(ModelLoadFailedError, match="/m/mlx is gone"):
        models.resolve(ModelRequest("m", EngineSetting.MLX))
    models.is_avoided = lambda target: target.engine.kind is EngineKind.LLAMACPP
    with pytest.raises(ModelLoadFailedError, match="/m/mlx is gone"):
        models.resolve(ModelRequest("m"))
    models.is_avoided = lambda _target: False
    gone.add("/m/a.gguf")
    models.forget()
    with pytest.raises(ModelLoadFailedError, match="/m/mlx is gone"):
        models.resolve(ModelRequest("m"))


def test_an_engine_whose_loads_fail_is_asked_again_where_the_other_has_changed_files(
    registry: Registry,
) -> None:
    models = ModelDirectory(
        registry,
        current=CurrentConfig(Config(engine=EngineSetting.MLX)),
        is_apple_silicon=False,
        what_changed=lambda each: "it has changed" if each.path == "/m/a.gguf" else None,
    )
    models.is_avoided = lambda target: target.engine.kind is EngineKind.MLX
    choice = models.resolve(ModelRequest("m"))
    assert (choice.target.local.path, choice.reason) == ("/m/mlx", EngineReason.GLOBAL_SETTING)


def test_an_engine_whose_loads_fail_is_passed_over_and_the_log_says_it_once(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    models = ModelDirectory(registry, current=CurrentConfig(Config(engine=EngineSetting.MLX)), is_apple_silicon=False)
    avoided = {EngineKind.MLX}
    models.is_avoided = lambda target: target.engine.kind in avoided
    for _ in range(2):
        choice = models.resolve(ModelRequest("m"))
        models.note_choice(ModelRequest("m"), choice)
        assert (choice.target.engine.kind, choice.reason) == (
            EngineKind.LLAMACPP,
            EngineReason.FALLBACK_LOAD_FAILED,
        )
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "llamacpp serves 'm'; fallback: the other engine failed to load the model"
    ]
    assert models.resolve(ModelRequest("m", EngineSetting.MLX)).target.engine.kind is EngineKind.MLX
    avoided.add(EngineKind.LLAMACPP)
    assert models.resolve(ModelRequest("m")).reason is EngineReason.GLOBAL_SETTING, "what is set says why it fails"


def test_a_change_by_another_process_is_seen(registry: Registry, path: Path) -> None:
    models = directory(registry)
    models.get("m")
    assert not models.has_changed()
    with Registry(path) as other:
        other.models.change_settings("m", {"engine": "mlx"})
    assert models.has_changed()
    models.forget()
    assert models.resolve(ModelRequest("m")).target.engine == Engine(EngineKind.MLX)
    assert not models.has_changed()


def test_a_model_that_is_gone_is_not_served_from_memory(registry: Registry, path: Path) -> None:
    models = directory(registry)
    models.get("only-gguf")
    with Registry(path) as other:
        other.models.rename("only-gguf", "renamed")
    for _ in range(2):
        with pytest.raises(ModelNotFoundError):
            models.get("only-gguf")


def test_known_models_outlive_a_database_that_breaks(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    models = directory(registry)
    known = models.get("m")

    def broken(*_: object) -> None:
        raise RegistryCorruptError("disk image is malformed")

    monkeypatch.setattr(registry.models, "get", broken)
    models.forget()  # it changed, and cannot be read any more
    assert models.get("m") == known
    with pytest.raises(RegistryCorruptError):
        models.get("only-gguf")
    monkeypatch.setattr(type(registry), "data_version", property(broken))
    assert models.get("m") == known
    assert not models.has_changed()


def test_the_time_of_last_use_is_written_now_and_then(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Times()
    models = directory(registry, clock)
    written: list[str] = []
    monkeypatch.setattr(registry.models, "touch_last_used", written.append)
    for _ in range(3):
        models.note_use("m")
    models.note_use("only-gguf")
    clock.now += NOTE_USE_INTERVAL_S
    models.note_use("m")
    assert written == ["m", "only-gguf", "m"]


def test_a_use_that_cannot_be_written_is_no_error(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(_: str) -> None:
        raise RegistryBusyError("another process writes")

    monkeypatch.setattr(registry.models, "touch_last_used", busy)
    models = directory(registry)
    models.note_use("m")
    assert models.get("m").last_used_at is None


def test_files_that_changed_or_vanished_are_not_served(registry: Registry) -> None:
    clock, changes = Times(), dict[int, str]()
    models = ModelDirectory(
        registry,
        current=CurrentConfig(Config()),
        is_apple_silicon=False,
        what_changed=lambda artifact: changes.get(artifact.id),
        clock=clock,
    )
    target = models.resolve(ModelRequest("m", EngineSetting.LLAMACPP)).target
    changes[target.local.artifact_id] = "/m/a.gguf is gone"
    assert models.resolve(ModelRequest("m", EngineSetting.LLAMACPP)).target == target  # looked at just now
    clock.now += CHECK_FILES_INTERVAL_S
    with pytest.raises(ModelLoadFailedError, match=r"/m/a\.gguf is gone.*mlxr models scan"):
        models.resolve(ModelRequest("m", EngineSetting.LLAMACPP))
    assert models.resolve(ModelRequest("m", EngineSetting.MLX)).target.engine == Engine(EngineKind.MLX)
    changes.clear()
    assert models.resolve(ModelRequest("m", EngineSetting.LLAMACPP)).target == target


def test_the_list_is_read_again_after_changes_only(registry: Registry, path: Path) -> None:
    models = directory(registry)
    listed = models.list()
    assert models.list() is listed
    with Registry(path) as other:
        other.artifacts.add(make_draft("/new.gguf", name="new", facts=make_facts(parameter_count=9)))
    assert "new" in {model.name for model in models.list()}
