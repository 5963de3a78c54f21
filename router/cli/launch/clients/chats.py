"""Programs from PyPI: a pair programmer, a chat for the terminal, a page.

Sources: aider 0.86, aider.chat/docs/config/adv-model-settings.html; llm 0.36, llm/default_plugins/openai_models.py and
llm/__init__.py (`get_key`); Open WebUI, docs.openwebui.com, "Environment Variable Configuration".
"""

import json
from typing import Any, Final

from router.cli.launch.offer import MLXR, Offer, Places
from router.cli.launch.plan import Client, FileChange, OwnFile, Plan
from router.cli.launch.texts.edits import Put, PutItem


def _aider(offer: Offer, places: Places) -> Plan:
    name = f"openai/{offer.model}"
    facts: dict[str, Any] = {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 0,
        "output_cost_per_token": 0,
        "supports_vision": offer.sees,
    }
    if offer.context_length is not None:
        facts |= {"max_input_tokens": offer.context_length, "max_output_tokens": offer.answer_room}
    metadata = places.own / "aider-models.json"
    return Plan(
        files=(OwnFile(metadata, (json.dumps({name: facts}, indent=2) + "\n").encode()),),
        environment={
            "OPENAI_API_BASE": offer.openai_url,
            "OPENAI_API_KEY": offer.sent_key,
            **_trusted_by_python(offer),
        },
        arguments=("--model", name, "--weak-model", name, "--model-metadata-file", str(metadata)),
    )


AIDER: Final = Client(
    name="aider",
    title="aider",
    api="Chat Completions",
    plan=_aider,
    command="aider",
    install="pipx install aider-chat",
    wants_tools=False,
    first_prompt=1_000,
    wanted_context=16_384,
)


def _llm(offer: Offer, places: Places) -> Plan:
    folder = places.named("LLM_USER_PATH", places.app_config("io.datasette.llm", "io.datasette.llm"))
    model_id = f"{MLXR}/{offer.model}"
    model = {
        "model_id": model_id,
        "model_name": offer.model,
        "api_base": offer.openai_url,
        **({} if offer.key is None else {"api_key_name": MLXR}),
        "supports_tools": True,
        "supports_schema": True,
        "vision": offer.sees,
    }
    models = FileChange(folder / "extra-openai-models.yaml", "yaml", (PutItem((), model, key="model_id"),))
    keys = [] if offer.key is None else [FileChange(folder / "keys.json", "json", (Put((MLXR,), offer.key),))]
    return Plan(
        files=(models, *keys),
        environment={"LLM_MODEL": model_id, **_trusted_by_python(offer)},
        bare_arguments=("chat",),
    )


LLM: Final = Client(
    name="llm",
    title="llm",
    api="Chat Completions",
    plan=_llm,
    command="llm",
    install="pipx install llm",
    wants_tools=False,
    wanted_context=None,
)


def _open_webui(offer: Offer, places: Places) -> Plan:
    del places
    return Plan(
        environment={
            "OPENAI_API_BASE_URL": offer.openai_url,
            "OPENAI_API_KEY": offer.sent_key,
            "DEFAULT_MODELS": offer.model,
            "ENABLE_OLLAMA_API": "false",
            **_trusted_by_python(offer),
        },
        bare_arguments=("serve",),
        steps=(
            (
                "Open WebUI keeps what it was started with first in a database of its own: if that is another address, "
                f"change it under Admin Panel, Settings, Connections, to {offer.openai_url}."
            ),
        ),
    )


OPEN_WEBUI: Final = Client(
    name="open-webui",
    title="Open WebUI",
    api="Chat Completions",
    plan=_open_webui,
    command="open-webui",
    install="pipx install open-webui",
    wants_tools=False,
    wanted_context=None,
)


def _trusted_by_python(offer: Offer) -> dict[str, str | None]:
    return {} if offer.cert_file is None else {"SSL_CERT_FILE": offer.cert_file}
