"""What of a body is brought nearer to its type, and what is left to the decoder."""

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from router.http.fitting import fit


class Leaf(msgspec.Struct, forbid_unknown_fields=True):
    a: int | None = None
    is_on: bool = False


class Red(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="red"):
    n: int


class Blue(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="blue"):
    share: float


class Open(msgspec.Struct):
    n: int = 0


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    leaf: Leaf | None = None
    leaves: str | list[Leaf] | None = None
    colour: Red | Blue | None = None
    count: Annotated[int, Meta(ge=1)] | None = None
    keep: str | int | float | None = None
    share: float | None = None
    any: Any = None
    table: dict[str, int] | None = None
    schema: str | dict[str, Any] | None = None
    inner: Open | None = None
    own: list["Body"] = []


@pytest.mark.parametrize(
    ("value", "fitted", "unknown"),
    [
        ({"x": 1, "count": 2}, {"count": 2}, ["x"]),
        ({"leaf": {"a": 1, "b": 2}}, {"leaf": {"a": 1}}, ["leaf.b"]),
        ({"leaves": [{"b": 2}, {"b": 2, "c": 3}]}, {"leaves": [{}, {}]}, ["leaves[].b", "leaves[].c"]),
        ({"colour": {"type": "red", "n": 2.0, "m": 1}}, {"colour": {"type": "red", "n": 2}}, ["colour.m"]),
        ({"colour": {"type": "green", "m": 1}}, {"colour": {"type": "green", "m": 1}}, []),
        ({"count": 8192.0}, {"count": 8192}, []),
        ({"count": 8192.5}, {"count": 8192.5}, []),
        ({"count": 1e300}, {"count": 1e300}, []),
        ({"count": True, "keep": 5.0, "share": 1.0}, {"count": True, "keep": 5.0, "share": 1.0}, []),
        ({"any": {"z": 1.0}, "schema": {"z": 1.0}}, {"any": {"z": 1.0}, "schema": {"z": 1.0}}, []),
        ({"table": {"a": 3.0}}, {"table": {"a": 3}}, []),
        ({"leaf": {"is_on": None, "a": None}}, {"leaf": {"a": None}}, []),
        ({"colour": {"type": "red", "n": None}}, {"colour": {"type": "red", "n": None}}, []),
        ({"inner": {"m": 1, "n": 1.0}}, {"inner": {"m": 1, "n": 1}}, []),
        ({"own": [{"own": [{"x": 1}]}]}, {"own": [{"own": [{}]}]}, ["own[].own[].x"]),
        ([1, {"x": 1}], [1, {"x": 1}], []),
    ],
)
def test_a_value_comes_nearer_to_its_type(value: Any, fitted: Any, unknown: list[str]) -> None:
    before = msgspec.json.encode(value)
    found, fitting = fit(value, Body)
    assert (found, list(fitting.unknown)) == (fitted, unknown)
    assert msgspec.json.encode(found) == msgspec.json.encode(fitted)  # 2.0 == 2
    assert fitting.has_changed == (msgspec.json.encode(found) != before)


def test_unknown_fields_stay_where_they_are_to_be_refused() -> None:
    found, fitting = fit({"x": 1, "count": 2.0}, Body, drops_unknown=False)
    assert (found, list(fitting.unknown), fitting.has_changed) == ({"x": 1, "count": 2}, [], True)


def test_paths_begin_where_the_value_lies() -> None:
    assert list(fit({"x": 1}, Body, "input[3]")[1].unknown) == ["input[3].x"]
