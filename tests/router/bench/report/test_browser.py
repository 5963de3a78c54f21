"""The page of a run in a real browser: it is drawn, and the browser has nothing to complain about."""

import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from router.bench.report.page import as_page
from tests.support.bench_records import make_run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TIMEOUT_S = 120

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here (Debian: apt-get install chromium)"),
    pytest.mark.slow,
]


def browse(page: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page without a window; what it complains about is on stderr."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium refuses to run as root with it
    command += [f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", *options, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def test_a_browser_shows_every_plot_and_complains_about_nothing(tmp_path: Path) -> None:
    done = browse(as_page(make_run()), tmp_path, "--dump-dom")
    assert complaints(done) == []
    for kind, num in (("ratios", 1), ("figures", 6), ("timeline", 3)):
        assert done.stdout.count(f'class="plot {kind}"') == num
    assert "mlx is faster in short-chat, long-prompt-2k and parallel-4." in done.stdout


def test_the_page_refuses_scripts_and_pictures_from_elsewhere(tmp_path: Path) -> None:
    page = as_page(make_run())
    bad = '<script>document.title = "run"</script><img src="http://127.0.0.1:9/x.png">'
    done = browse(page.replace("<main>", f"{bad}<main>", 1), tmp_path, "--dump-dom")
    assert len(complaints(done)) >= 2
    assert "<title>run</title>" not in done.stdout


def first_pixel(picture: bytes) -> tuple[int, ...]:
    """Read red, green and blue of a PNG's first pixel, whose filter has no neighbours to add."""
    packed, place = b"", 8
    while place < len(picture):
        (length,) = struct.unpack_from(">I", picture, place)
        if picture[place + 4 : place + 8] == b"IDAT":
            packed += picture[place + 8 : place + 8 + length]
        place += length + 12
    return tuple(zlib.decompress(packed)[1:4])


@pytest.mark.parametrize(
    ("setting", "paper"), [(0, (0x16, 0x16, 0x18)), (1, (0xFC, 0xFC, 0xFA))], ids=["dark", "light"]
)
def test_the_page_is_dark_or_light_as_its_reader_wishes(tmp_path: Path, setting: int, paper: tuple[int, ...]) -> None:
    picture = tmp_path / "page.png"
    scheme = f"--blink-settings=preferredColorScheme={setting}"
    browse(as_page(make_run()), tmp_path, f"--screenshot={picture}", "--window-size=900,1400", scheme)
    painted = picture.read_bytes()
    assert first_pixel(painted) == paper
    assert len(painted) > 50_000  # an empty page of this size takes some 5 kB
