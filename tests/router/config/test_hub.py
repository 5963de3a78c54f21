"""Which hub, token and proxy count: command line, config, environment."""

import pytest

from router.config.hub import DEFAULT_ENDPOINT, hub_settings
from router.config.schema import Config, HubConfig
from router.errors import ConfigError

ENVIRONMENT = {
    "HF_ENDPOINT": "https://mirror.example",
    "HF_TOKEN": " hf_env\n",
    "HTTPS_PROXY": "http://proxy.example:3128",
}


def test_without_anything_it_is_the_public_hub() -> None:
    settings = hub_settings(Config(), {})
    assert (settings.endpoint, settings.token, settings.proxy) == (DEFAULT_ENDPOINT, None, None)


def test_the_environment_counts_where_the_config_is_silent() -> None:
    settings = hub_settings(Config(), ENVIRONMENT)
    assert (settings.endpoint, settings.token) == ("https://mirror.example", "hf_env")
    assert settings.proxy == "http://proxy.example:3128"


def test_the_config_stands_above_the_environment() -> None:
    config = Config(hub=HubConfig(endpoint="https://ours.example", token="hf_ours", proxy="http://p:1"))
    settings = hub_settings(config, ENVIRONMENT)
    assert (settings.endpoint, settings.token, settings.proxy) == ("https://ours.example", "hf_ours", "http://p:1")


def test_the_configs_token_is_not_for_a_hub_of_the_command_line() -> None:
    config = Config(hub=HubConfig(endpoint="https://ours.example", token="hf_ours"))
    settings = hub_settings(config, {}, endpoint="https://other.example")
    assert (settings.endpoint, settings.token) == ("https://other.example", None)


def test_a_hub_on_this_machine_is_reached_without_the_environments_proxy() -> None:
    assert hub_settings(Config(), ENVIRONMENT | {"HF_ENDPOINT": "http://127.0.0.1:8080"}).proxy is None


def test_no_text_of_the_settings_has_the_token() -> None:
    config = Config(hub=HubConfig(token="hf_ours"))
    assert "hf_ours" not in repr(config)
    assert "hf_ours" not in repr(hub_settings(config, {}))


@pytest.mark.parametrize(
    "environment",
    [{"HF_TOKEN": "hf_ö"}, {"HF_TOKEN": "hf a"}, {"HF_TOKEN": "hf\na"}, {"HTTPS_PROXY": "socks5://proxy:1"}],
)
def test_what_would_break_a_request_is_refused_without_being_shown(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        hub_settings(Config(), environment)
    assert all(value not in str(caught.value) for value in environment.values())


def test_a_proxy_may_be_written_without_a_scheme() -> None:
    assert hub_settings(Config(), {"HTTPS_PROXY": "proxy.example:3128"}).proxy == "http://proxy.example:3128"
