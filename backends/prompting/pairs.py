"""A query and a document to the tokens that a model which ranks was trained on.

Source: llama.cpp, tools/server, `format_prompt_rerank`: "[BOS]query[EOS][SEP]doc[EOS]", each mark where the vocabulary
wants it; or the model's template named `rerank`, in which `{query}` and `{document}` stand for the two texts. One that
is written in Jinja is rendered as chat templates are, in the same sandbox.
"""

import functools
import re
from typing import Final

from backends.embedding import PairForm
from backends.errors import TemplateError
from backends.prompting.chat_template import ChatTemplate
from backends.prompting.control_text import ControlTextMarker
from backends.prompting.encoding import PromptEncoder
from backends.tokenizer import Tokenizer

_JINJA: Final = re.compile(r"\{\{|\{%")
_PLACES: Final = re.compile(r"\{(query|document)\}")


class PairEncoder:
    """Encodes for one loaded model.

    Control tokens that users write are text, as in chats.
    """

    def __init__(self, tokenizer: Tokenizer, form: PairForm) -> None:
        self._tokenizer = tokenizer
        self._form = form
        self._encoder = PromptEncoder(tokenizer)

    def encode(self, query: str, document: str) -> list[int]:
        """Return the tokens of a pair.

        Raises:
            TemplateError: The model's template failed, or shows no document.
        """
        if self._form.template is None:
            literal, form = self._encoder.literal, self._form
            return [*self._encoder.bos, *literal(query), *form.between, *literal(document), *form.closing]
        marker = ControlTextMarker(list(self._tokenizer.control_ids), [query, document])
        text = self._written(self._form.template, *marker.mark([query, document]))
        token_ids, _ = self._encoder.encoded(marker.split(text), add_bos=False)
        return token_ids

    def _written(self, template: str, query: str, document: str) -> str:
        if self._jinja is not None:
            return self._jinja.render([], variables={"query": query, "document": document})
        texts = {"query": query, "document": document}
        if "document" not in _PLACES.findall(template):
            raise TemplateError("the model's rerank template has no {document}; its file is not usable for ranking")
        return _PLACES.sub(lambda found: texts[found[1]], template)

    @functools.cached_property
    def _jinja(self) -> ChatTemplate | None:
        template, tokenizer = self._form.template or "", self._tokenizer
        if _JINJA.search(template) is None:
            return None
        compiled = ChatTemplate(template, bos_text=tokenizer.bos_text, eos_text=tokenizer.eos_text)
        if "document" not in compiled.variables:
            raise TemplateError("the model's rerank template reads no document; its file is not usable for ranking")
        return compiled
