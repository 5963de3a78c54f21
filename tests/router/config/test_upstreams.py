"""The config's section `upstreams`: what it takes, how it is refused, and that nothing secret is told."""

from pathlib import Path

import msgspec
import pytest

from router.config import Config, load_config, parse_config
from router.config.settings.masking import masked
from router.errors import ConfigError

GOOD = """
engine: upstream:box
engine_fallback: upstream
upstreams:
  - name: box
    url: http://10.0.0.2:8000
  - name: cloud
    url: https://api.example.com/openai/v1
    api_key_env: EXAMPLE_KEY
    models: [large-*, small]
    names: {mine: Their/Model}
    auto: true
    honours: [top_k]
    lacks: [seed]
    price_per_million_input: 1.5
    max_cost_per_day: 2
"""


def test_upstreams_are_read() -> None:
    config = parse_config(GOOD, source="server.yaml")
    box, cloud = config.upstreams
    assert (box.name, box.protocol, box.api_key_env, box.auto, box.models) == ("box", "openai", None, False, None)
    assert (cloud.models, cloud.names) == (("large-*", "small"), {"mine": "Their/Model"})
    assert msgspec.json.decode(msgspec.json.encode(config), type=Config) == config


def test_paths_may_begin_with_the_home_folder(tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("upstreams: [{name: a, url: 'http://h', api_key_file: ~/key, ca_file: /etc/ca.pem}]")
    (upstream,) = load_config(file, user_home=Path("/home/u")).upstreams
    assert (upstream.api_key_file, upstream.ca_file) == ("/home/u/key", "/etc/ca.pem")


@pytest.mark.parametrize(
    ("text", "param", "words"),
    [
        ("upstreams: [{name: a}]", "upstreams[0]", "url"),
        ("upstreams: [{name: 'A b', url: 'http://h'}]", "upstreams[0].name", "a-z, 0-9"),
        ("upstreams: [{name: a, url: 'ftp://h'}]", "upstreams[0].url", "an address like"),
        ("upstreams: [{name: a, url: 'http://u:secret@h'}]", "upstreams[0].url", "without user and password"),
        ("upstreams: [{name: a, url: 'http://h', api_key_env: sk-secret}]", "upstreams[0].api_key_env", "not the key"),
        ("upstreams: [{name: a, url: 'http://h', api_key: sk-secret}]", "upstreams[0].api_key", "api_key_env"),
        ("upstreams: [{name: a, url: 'http://h', honours: [magic]}]", "upstreams[0].honours[0]", "one of"),
        ("upstreams: [{name: a, url: 'http://h', weight: 0}]", "upstreams[0].weight", "number > 0"),
        ("upstreams: [{name: a, url: 'http://h', max_cost_per_day: 1}]", "upstreams[0]", "price_per_million_input"),
        ("upstreams: [{name: a, url: 'http://h', honours: [seed], lacks: [seed]}]", "upstreams[0]", "seed"),
        ("upstreams: [{name: a, url: 'http://h'}, {name: a, url: 'http://i'}]", None, "the name of two"),
        (
            "engine: upstream:b\nupstreams: [{name: a, url: 'http://h'}]",
            None,
            "engine: there is no upstream 'b'; there are a",
        ),
        ("engine_fallback: upstream", None, "there are none"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_the_key(text: str, param: str | None, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(text, source="server.yaml")
    assert refused.value.param == param
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)


def test_where_the_key_is_is_not_shown() -> None:
    shown = str(masked(msgspec.to_builtins(parse_config(GOOD, source="server.yaml"))))
    assert "EXAMPLE_KEY" not in shown, "somebody may have put the key itself there"
