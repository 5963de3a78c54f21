"""Ollama's parameters of a model (`PARAMETER`, `options`) as settings of ours. Pure.

A parameter that has no setting is told, unless its value asks for nothing; who asks decides whether that is an error.

Source: ollama, `docs/modelfile.md` (the parameters), `api/types.go` (`Options` and its defaults).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from registry.errors import InvalidSettingError
from registry.settings import check_settings

SETTINGS: Final = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
    "seed": "seed",
    "num_predict": "max_tokens",
    "num_ctx": "context_length",
    "num_thread": "threads",
    "stop": "stop",
}
"""Parameter -> setting, in the order in which they are shown."""
_UNSET: Final = frozenset({"top_k", "seed", "num_predict", "num_thread"})
"""Of these, a value under what the setting begins with means "no limit" or "another one each time"."""

_NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "typical_p": (1,),
    "tfs_z": (1,),
    "mirostat": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "use_mmap": (True,),
    "use_mlock": (False,),
    "penalize_newline": (True, False),
    "numa": (False,),
    "low_vram": (False,),
    "vocab_only": (False,),
}
_WITHOUT_EFFECT: Final = frozenset({"num_gpu"})
"""The engine decides where layers lie: a number of them is a wish, in an option as in a recipe."""
_FLAGS: Final = {"true": True, "false": False}


class ParameterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What parameters come to.

    Attributes:
        settings: Setting -> value, checked.
        problems: Parameter -> why it was left out.
    """

    settings: dict[str, Any]
    problems: dict[str, str]


def settings_of_parameters(parameters: Mapping[str, Any]) -> ParameterSettings:
    """Turn parameters into settings.

    Args:
        parameters: Name -> value; numbers may be written as texts, `stop` may be one text or a list.
    """
    settings: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, value in parameters.items():
        setting = SETTINGS.get(name)
        if setting is None:
            if name not in _WITHOUT_EFFECT and _plain(value) not in _NEUTRAL.get(name, ()):
                problems[name] = _why_not(name)
            continue
        try:
            settings |= _checked(name, setting, value)
        except InvalidSettingError as exc:
            problems[name] = str(exc)
    return ParameterSettings(settings=settings, problems=problems)


def _checked(name: str, setting: str, value: Any) -> dict[str, Any]:
    if name == "stop":
        return check_settings({setting: [value] if isinstance(value, str) else value})
    number = _plain(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InvalidSettingError(f"{name}: {str(value)[:40]!r} is no number.")
    if name in _UNSET and number < (0 if name == "seed" else 1):
        return {}
    return check_settings({setting: number})


def _plain(value: Any) -> Any:
    """Read a number or a flag that was written as a text."""
    if not isinstance(value, str):
        return value
    if value.lower() in _FLAGS:
        return _FLAGS[value.lower()]
    for kind in (int, float):
        try:
            return kind(value[:40])
        except ValueError:
            continue
    return value


def _why_not(name: str) -> str:
    known = ", ".join(SETTINGS)
    return f"{name!r:.60} cannot be set on a model here; what can: {known}."
