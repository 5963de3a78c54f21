"""A load as the worker does it: the engine's own, and the user's chat template in the place of the model's.

Everything that looks at a template asks the tokenizer for it, so that control tokens, tools and reasoning are read off
the user's template as they would be off the model's.
"""

from collections.abc import Callable

from msgspec.structs import replace

from backends.base import Engine
from backends.errors import LoadError, TemplateError
from backends.prompting.chat_template import check_template
from backends.wire.messages import LoadedModel, LoadSpec


def load_model(engine: Engine, spec: LoadSpec, on_progress: Callable[[float], None]) -> LoadedModel:
    """Load a model.

    Args:
        engine: Into which; it must have none.
        on_progress: Called with shares of the load, 0 to 1.

    Raises:
        LoadError: The engine refused it, or the user's template is not valid.
    """
    template = spec.chat_template
    if template is None:
        return engine.load(spec, on_progress)
    try:
        check_template(template)
    except TemplateError as exc:
        raise LoadError(f"the template that is set on this model cannot be used: {exc}") from exc
    model = engine.load(spec, on_progress)
    engine.tokenizer.chat_template = template
    return replace(model, has_chat_template=True)
