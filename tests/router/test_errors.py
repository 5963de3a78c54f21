import importlib
import pkgutil
from collections.abc import Iterator

import msgspec
import pytest

import backends
import registry
import router
from backends.errors import BackendError, ContextLengthError
from registry.errors import ModelNotFoundError, RegistryError
from router import errors
from router.errors import RouterError
from router.http.error_table import ERROR_ROWS, row_for

BASES: list[type[Exception]] = [RouterError, BackendError, RegistryError]
PACKAGES = [registry, backends, router]


def subclasses_of(base: type[Exception]) -> Iterator[type[Exception]]:
    for child in base.__subclasses__():
        if child.__module__.partition(".")[0] in {"registry", "backends", "router"}:
            yield child
            yield from subclasses_of(child)


def our_error_classes() -> list[type[Exception]]:
    for package in PACKAGES:
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name.endswith(".errors"):
                importlib.import_module(module.name)
    return [error for base in BASES for error in subclasses_of(base)]


def classes_of_the_room() -> list[type[Exception]]:
    return [each for each in subclasses_of(RouterError) if each.__module__.startswith("router.errors.")]


@pytest.mark.parametrize("error_class", our_error_classes(), ids=lambda c: f"{c.__module__}.{c.__name__}")
def test_every_error_class_has_a_row_and_a_code(error_class: type[Exception]) -> None:
    row = row_for(error_class)
    assert row is not None, f"{error_class.__qualname__} needs a row in router.http.error_table.ERROR_ROWS"
    assert 400 <= row.status <= 599
    assert getattr(error_class, "code", "")


def test_no_base_has_a_row_so_that_a_new_class_cannot_hide_behind_it() -> None:
    assert not set(BASES) & set(ERROR_ROWS)
    assert row_for(Exception) is None


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    assert errors.__doc__ is not None
    drawn = {line.split()[-2]: line.split()[-1] for line in errors.__doc__.splitlines() if "── " in line}
    # A class that lives with its subject is drawn with its module.
    elsewhere = {name: code for name, code in drawn.items() if "." in name}
    real = {cls.__name__: vars(cls)["code"] for cls in classes_of_the_room()}
    assert {name: code for name, code in drawn.items() if name not in elsewhere} == real
    for name, code in elsewhere.items():
        module, _, class_name = name.rpartition(".")
        error_class = getattr(importlib.import_module(module), class_name)
        assert issubclass(error_class, RouterError)
        assert error_class.code == code


def test_every_class_is_imported_from_the_room_itself() -> None:
    assert set(errors.__all__) == {RouterError.__name__} | {each.__name__ for each in classes_of_the_room()}


def test_codes_are_unique_within_the_router() -> None:
    codes = [vars(cls)["code"] for cls in classes_of_the_room()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidRequestError("x"), 400),
        (errors.EngineNotAvailableError("m", "mlx", ["llamacpp"]), 400),
        (errors.ContextLengthExceededError("too long", num_prompt_tokens=9, context_length=8, param="messages"), 400),
        (ContextLengthError(num_prompt_tokens=9, context_length=8), 400),
        (errors.HostNotAllowedError("x"), 403),
        (errors.OriginNotAllowedError("x"), 403),
        (ModelNotFoundError("m"), 404),
        (errors.MethodNotAllowedError("x"), 405),
        (errors.RequestTimeoutError("x"), 408),
        (errors.RequestTooLargeError(1), 413),
        (errors.QueueFullError(retry_after_s=1), 429),
        (errors.HeadersTooLargeError("x"), 431),
        (errors.ModelLoadFailedError("x"), 500),
        (errors.EngineCrashedError("x"), 502),
        (errors.InsufficientMemoryError(needed_bytes=2, available_bytes=1), 503),
        (errors.ShuttingDownError(), 503),
        (errors.EngineTimeoutError("x"), 504),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else str(v),
)
def test_statuses_clients_rely_on(error: Exception, status: int) -> None:
    row = row_for(type(error))
    assert row is not None
    assert row.status == status


def test_an_unmet_engine_wish_says_what_there_is_and_how_to_add_the_other() -> None:
    error = errors.EngineNotAvailableError("smol", "mlx", ["llamacpp"], "mlxr models convert smol")
    assert "llamacpp" in str(error)
    assert "mlxr models convert smol" in str(error)
    assert error.param == "model"


def test_a_row_is_immutable() -> None:
    row = row_for(errors.QueueFullError)
    assert row is not None
    with pytest.raises(AttributeError):
        row.status = 200  # type: ignore[misc]
    assert msgspec.structs.asdict(row)["status"] == 429
