"""Which hub, token and proxy count: command line, config, environment."""

from pathlib import Path

import pytest

from router.config.hub import DEFAULT_ENDPOINT, hub_settings
from router.config.schema import Config, HubConfig
from router.errors import ConfigError

ENVIRONMENT = {
    "HF_ENDPOINT": "https://mirror.example",
    "HF_TOKEN": " hf_env\n",
    "HTTPS_PROXY": "http://proxy.example:3128",
}
NO_LOGIN = {"HF_TOKEN_PATH": "/dev/null"}


def test_without_anything_it_is_the_public_hub(tmp_path: Path) -> None:
    settings = hub_settings(Config(), {"HOME": str(tmp_path)})
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
    settings = hub_settings(config, NO_LOGIN, endpoint="https://other.example")
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


def login(folder: Path, token: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "token").write_text(token)
    return str(folder)


def test_a_login_of_hugging_faces_tools_counts_in_their_order(tmp_path: Path) -> None:
    home, other = login(tmp_path / "home", "hf_home\n"), login(tmp_path / "other", "hf_path")
    found = {"HOME": str(tmp_path), "HF_HOME": home}
    for more, token in (
        ({}, "hf_home"),
        ({"HF_HOME": "$HOME/home"}, "hf_home"),
        ({"HF_HOME": "~/home"}, "hf_home"),
        ({"HF_TOKEN_PATH": f"{other}/token"}, "hf_path"),
        ({"HF_TOKEN_PATH": str(tmp_path / "nothing")}, None),
        ({"HUGGING_FACE_HUB_TOKEN": "hf_old"}, "hf_old"),
        ({"HUGGING_FACE_HUB_TOKEN": "hf_old", "HF_TOKEN": "hf_new"}, "hf_new"),
        ({"HF_TOKEN": " "}, "hf_home"),
        ({"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, None),
    ):
        assert hub_settings(Config(), found | more).token == token, more
    assert hub_settings(Config(hub=HubConfig(token="hf_ours")), found).token == "hf_ours"


def test_a_login_lies_where_the_cache_lies_when_nothing_says_otherwise(tmp_path: Path) -> None:
    login(tmp_path / ".cache" / "huggingface", "hf_home")
    login(tmp_path / "xdg" / "huggingface", "hf_xdg")
    assert hub_settings(Config(), {"HOME": str(tmp_path)}).token == "hf_home"
    assert hub_settings(Config(), {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "xdg")}).token == "hf_xdg"


def test_a_login_that_cannot_be_a_token_is_named_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        hub_settings(Config(), {"HF_HOME": login(tmp_path, "hf secret")})
    assert str(tmp_path / "token") in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "is_offline"),
    [
        ({"HF_HUB_OFFLINE": "1"}, True),
        ({"HF_HUB_OFFLINE": "true"}, True),
        ({"HF_HUB_OFFLINE": "0"}, False),
        ({"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "yes"}, True),
        ({"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"}, False),
        ({}, False),
    ],
)
def test_the_network_is_left_alone_where_the_environment_says_so(
    environment: dict[str, str], *, is_offline: bool
) -> None:
    assert hub_settings(Config(), environment).is_offline is is_offline
