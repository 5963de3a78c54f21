"""Connections to an Ollama registry. Not here: what is asked there (`registry.hub.ollama`)."""

from typing import TYPE_CHECKING

from registry.errors import HubAuthError, HubNotFoundError
from registry.hub.addresses import short
from registry.hub.web import Web

if TYPE_CHECKING:
    import httpx


class OllamaWeb(Web):
    """Connections to an Ollama registry: the same rules, and its own words for a refusal."""

    def _refusal(self, response: "httpx.Response", url: str, *, is_redirected: bool) -> Exception:
        error = super()._refusal(response, url, is_redirected=is_redirected)
        if isinstance(error, HubAuthError):
            return HubAuthError(
                f"{short(url)} answered {response.status_code}: only public models can be pulled from an Ollama "
                "registry; check the name."
            )
        if isinstance(error, HubNotFoundError):
            return HubNotFoundError(
                f"pull model manifest: file does not exist ({short(url)} answered {response.status_code}): the "
                "registry has no such model or tag."
            )
        return error
