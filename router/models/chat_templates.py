"""Whether a chat template that somebody sets can be one."""

from backends.errors import TemplateError
from router.errors import InvalidRequestError


def check_jinja(template: str) -> None:
    """Refuse a text that is no template in Jinja; the worker would refuse it in the load.

    Raises:
        InvalidRequestError: It says what is wrong and where.
    """
    from backends.prompting.chat_template import check_template  # noqa: PLC0415 - with Jinja, needed here only

    try:
        check_template(template)
    except TemplateError as exc:
        raise InvalidRequestError(f"template: {exc}", "template") from exc
