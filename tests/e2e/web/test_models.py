"""The page of models: what is here, getting more from a hub, and what is set, named, verified and deleted."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.e2e.web.test_page import LOOKS
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess
from tests.support.stub_hub import StubHub
from tests.support.tiny_adapter import write_gguf_lora
from tests.support.tiny_model import write_gguf, write_mlx

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.slow

PULLED = "tester/Tiny-GGUF:Q8_0"
HELD = 100_000
"""Bytes of a file that come before it stands still."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubHub]:
    folder = tmp_path_factory.mktemp("hub")
    gguf = write_gguf(folder / "tiny.gguf").read_bytes()
    mlx = write_mlx(folder / "mlx")
    repos = {
        "tester/Tiny-GGUF": {"tiny-Q4_K_M.gguf": gguf, "tiny-Q8_0.gguf": gguf[:-4] + b"else"},
        "tester/Tiny-4bit": {path.name: path.read_bytes() for path in sorted(mlx.iterdir())},
        "tester/Tiny-of-another-kind": {"README.md": b"# nothing to run"},
    }
    with StubHub(repos) as hub:
        yield hub


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory,
    make_home: Callable[[Path], Path],
    tooled: tuple[Path, Path],
    hub: StubHub,
) -> Iterator[GatewayProcess]:
    home = make_home(tmp_path_factory.mktemp("models") / "home")
    with Registry(Paths.under(home).registry_db) as registry:
        register_path(registry, tooled[0], name="gguf-only")
    started = GatewayProcess(home, fake_options={"context_length": 65536}, config={"hub": {"endpoint": hub.url}})
    yield started
    started.stop()


def open_models(visit: Visit) -> "Page":
    visit.page.goto(f"{visit.url}/ui/models")
    visit.page.locator(".card").first.wait_for()
    return visit.page


def card(page: "Page", name: str) -> "Locator":
    return page.locator(".card").filter(has=page.locator("h3 .note", has_text=name))


def unfold(page: "Page", name: str, *parts: str) -> "Locator":
    """Open parts of what there is more about a model."""
    page.get_by_role("button", name=f"More about {name}").click()
    found = card(page, name)
    for part in parts:
        found.locator("summary", has_text=part).click()
    return found


@pytest.mark.parametrize("look", LOOKS)
def test_all_of_it_is_accessible(visit: Callable[..., Visit], look: str) -> None:
    opened = visit(**LOOKS[look])
    page = open_models(opened)
    opened.picture(f"models-{look}")
    found = unfold(
        page, "tiny", "Memory", "Settings", "Other names", "Adapters", "Make an MLX form", "Verify", "Delete"
    )
    found.get_by_label("temperature").wait_for()
    found.get_by_text("Largest context").wait_for()
    opened.picture(f"models-more-{look}")
    page.fill("#get", "tiny")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Pull tester/Tiny-GGUF, Q8_0").wait_for()
    assert opened.accessibility() == []
    found.get_by_role("button", name="Delete…").click()
    page.locator("dialog[open]").get_by_text("Stays on the disk").wait_for()
    assert opened.accessibility() == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('.read').scrollWidth <= document.querySelector('.read').clientWidth")


def test_a_model_is_loaded_on_an_engine_and_unloaded(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    gateway.post("/v1/mlxr/models/stop", {"model": "tiny"})
    opened = visit()
    page = open_models(opened)
    found = card(page, "tiny")
    assert "GGUF F32, 429 kB" in found.locator(".facts").inner_text()
    found.get_by_text("fits").first.wait_for()
    page.get_by_label("Engine for tiny").select_option("mlx")
    page.get_by_role("button", name="Load tiny").click()
    found.locator(".state.ready").wait_for()
    assert opened.accessibility() == []
    assert [worker["engine"] for worker in gateway.status()["workers"]] == ["mlx"]
    page.get_by_role("button", name="Unload tiny from mlx").click()
    found.locator(".state.idle").wait_for()
    page.get_by_role("button", name="Chat with tiny").click()
    page.locator("#composer").wait_for()
    assert page.input_value("#model") == "tiny"


def test_the_hub_is_searched_with_an_author_and_what_runs_is_offered(visit: Callable[..., Visit], hub: StubHub) -> None:
    page = open_models(visit())
    page.fill("#get", "tiny @tester")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Pull tester/Tiny-4bit, MLX").wait_for()
    page.get_by_role("button", name="Pull tester/Tiny-GGUF, Q4_K_M").wait_for()
    page.get_by_text("It has no form that mlxr runs.").wait_for()
    page.get_by_text("fit on this machine").wait_for()
    asked = [each.path for each in hub.seen if each.path.startswith("/api/models?")]
    assert "author=tester" in asked[-1]


def test_a_pull_is_paused_taken_up_again_used_and_deleted(
    visit: Callable[..., Visit], gateway: GatewayProcess, hub: StubHub
) -> None:
    page = open_models(visit())
    others = ids(gateway)
    hub.held_after = HELD
    page.fill("#get", PULLED)
    page.get_by_role("button", name="Pull by name").click()
    row = page.locator(".rows li", has_text=PULLED)
    row.locator("progress").wait_for()
    page.get_by_role("button", name=f"Pause {PULLED}").click()
    row.get_by_text("paused").wait_for()
    page.reload()
    row.get_by_text("paused").wait_for()
    hub.held_after = None
    page.get_by_role("button", name=f"Resume {PULLED}").click()
    row.wait_for(state="detached")
    (name,) = ids(gateway) - others
    assert pulled_files(gateway) != []
    unfold(page, name, "Delete").get_by_role("button", name="Delete…").click()
    dialog = page.locator("dialog[open]")
    dialog.get_by_text("tiny-Q8_0.gguf").wait_for()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    card(page, name).wait_for(state="detached")
    assert pulled_files(gateway) == []


def ids(gateway: GatewayProcess) -> set[str]:
    return {each["id"] for each in gateway.get("/v1/models")["data"]}


def pulled_files(gateway: GatewayProcess) -> list[str]:
    """Return the files of PULLED, whatever other tests have made."""
    return [path for path in gateway.model_files() if Path(path).name.startswith("tiny-Q8_0.gguf")]


def test_a_pull_is_given_up(visit: Callable[..., Visit], gateway: GatewayProcess, hub: StubHub) -> None:
    page = open_models(visit())
    hub.held_after = HELD
    page.fill("#get", "tester/Tiny-GGUF:Q4_K_M")
    page.get_by_role("button", name="Pull by name").click()
    page.get_by_role("button", name="Cancel tester/Tiny-GGUF:Q4_K_M").click()
    page.get_by_role("region", name="Pulls").wait_for(state="detached")
    hub.held_after = None
    assert gateway.get("/v1/mlxr/models/pulls")["pulls"][-1]["state"] == "cancelled"


def test_what_cannot_be_pulled_is_said(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = open_models(opened)
    page.fill("#get", "tester/Nothing")
    page.get_by_role("button", name="Pull by name").click()
    page.get_by_role("alert").filter(has_text="there is no such repository").wait_for()
    assert page.get_by_role("region", name="Pulls").count() == 0
    opened.expect_refusals()


def test_settings_of_a_model_are_checked_by_the_server(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    opened = visit()
    page = open_models(opened)
    found = unfold(page, "tiny", "Settings")
    field = found.get_by_label("temperature")
    field.fill("nine")
    page.keyboard.press("Enter")
    found.get_by_role("alert").filter(has_text="temperature").wait_for()
    assert field.get_attribute("aria-invalid") == "true"
    field.fill("0.5")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Use the default of temperature").wait_for()
    assert setting(gateway, "temperature") == 0.5
    page.get_by_role("button", name="Use the default of temperature").click()
    page.get_by_role("button", name="Use the default of temperature").wait_for(state="detached")
    assert setting(gateway, "temperature") is None
    opened.expect_refusals()


def test_other_names_are_given_and_taken(visit: Callable[..., Visit]) -> None:
    page = open_models(visit())
    found = unfold(page, "tiny", "Other names")
    found.get_by_label("Another name").fill("gpt-small")
    page.keyboard.press("Enter")
    found.get_by_text("Also called gpt-small").wait_for()
    page.get_by_role("button", name="Remove the name gpt-small").click()
    found.get_by_text("Also called").wait_for(state="detached")


def test_an_adapter_is_added_and_forgotten(visit: Callable[..., Visit], tmp_path: Path) -> None:
    opened = visit()
    page = open_models(opened)
    found = unfold(page, "tiny", "Adapters")
    found.get_by_text("It has no adapters.").wait_for()
    path = found.get_by_label("Path on the server's machine")
    path.fill(str(tmp_path / "nothing"))
    page.keyboard.press("Enter")
    found.get_by_role("alert").filter(has_text="there is no such file").wait_for()
    path.fill(str(write_gguf_lora(tmp_path / "fox.gguf")))
    found.get_by_label("Name", exact=True).fill("fox")
    page.keyboard.press("Enter")
    found.get_by_text("tiny+fox").wait_for()
    found.get_by_role("button", name="Forget tiny+fox on llamacpp").click()
    found.get_by_text("It has no adapters.").wait_for()
    opened.expect_refusals()


def test_an_mlx_form_is_made(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    page = open_models(visit())
    found = unfold(page, "gguf-only", "Make an MLX form")
    found.get_by_label("Weights").select_option("8")
    found.get_by_role("button", name="Convert").click()
    found.get_by_text("gguf-only can be used on mlx now").wait_for()
    found.locator(".facts").get_by_text("MLX 8bit").wait_for()
    assert gateway.get("/v1/models/gguf-only")["engines"] == ["llamacpp", "mlx"]


def test_files_are_verified(visit: Callable[..., Visit]) -> None:
    page = open_models(visit())
    found = unfold(page, "tiny", "Verify")
    found.get_by_role("button", name="Verify", exact=True).click()
    found.get_by_text("All files are as they should be.").wait_for()
    assert found.locator(".rows .good").count() == 2


def setting(gateway: GatewayProcess, key: str) -> Any:
    settings = gateway.get("/v1/mlxr/models/settings?model=tiny")["settings"]
    return next(each["value"] for each in settings if each["key"] == key)


def tab_to(page: "Page", name: str) -> None:
    """Press Tab until what has that name is in focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = "document.activeElement.ariaLabel ?? document.activeElement.textContent"
        if page.evaluate(focused).strip() == name:
            return
    raise AssertionError(f"no Tab leads to {name!r}")


def test_all_of_it_is_done_by_keys(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    gateway.post("/v1/mlxr/models/stop", {"model": "tiny"})
    opened = visit()
    page = opened.open()
    tab_to(page, "Models")
    page.keyboard.press("Enter")
    found = card(page, "tiny")
    found.wait_for()
    tab_to(page, "Load tiny")
    page.keyboard.press("Enter")
    found.locator(".state.ready").wait_for()
    tab_to(page, "More about tiny")
    page.keyboard.press("Enter")
    tab_to(page, "Other names")
    page.keyboard.press("Enter")
    found.get_by_label("Another name").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.type("by-keys")
    page.keyboard.press("Enter")
    found.get_by_text("Also called by-keys").wait_for()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    found.get_by_text("Also called").wait_for(state="detached")
    tab_to(page, "Delete")
    page.keyboard.press("Enter")
    found.get_by_role("button", name="Delete…").wait_for()
    tab_to(page, "Delete…")
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    dialog.get_by_text("It is loaded on").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Keep it"
    page.keyboard.press("Enter")
    dialog.wait_for(state="detached")
    assert page.evaluate("document.activeElement.textContent") == "Delete…"
