"""The site and a run's page as a browser shows them: wide and narrow, light and dark.

`make docs` builds the site first. Pictures go to `build/screens`, for a look at them.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments import __main__ as command_line
from tests import browser

ROOT = Path(__file__).parents[1]
SITE = ROOT / "build" / "docs"
SCREENS = ROOT / "build" / "screens"
LAYOUT = (ROOT / "tests" / "layout.js").read_text()
PICTURES = {
    "index.html": "first_page",
    "start/first_network.html": "tutorial",
    "reference/surrogates.html": "api",
    "report.html": "report",
}


@pytest.fixture(scope="module")
def screen() -> Iterator[browser.Browser]:
    path = browser.find()
    if path is None:
        pytest.skip(f"install one of {', '.join(browser.NAMES)} to run this test")
    SCREENS.mkdir(parents=True, exist_ok=True)
    with browser.chromium(path) as page:
        yield page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All pages of the site, and the page of a short run."""
    if not SITE.exists():
        pytest.skip("run `make docs` to run this test")
    folder = tmp_path_factory.mktemp("runs") / "digits"
    argv = ["run", "digits", "--budget", "quick", "--train.epochs", "5", "--out", str(folder)]
    assert command_line.main(argv) == 0
    sources = SITE / "_sources"  # pages of ours; the theme makes others, of which some have errors
    ours = [
        str(file.relative_to(sources)).split(".")[0] + ".html" for file in sources.rglob("*.txt")
    ]
    return {name: SITE / name for name in ours} | {"report.html": folder / "report.html"}


@pytest.mark.heavy
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_is_cut_off_or_faint_or_without_a_text(screen, pages, width, dark):
    wrong = {}
    for name in PICTURES if dark else pages:
        screen.open(pages[name].as_uri(), width=width, dark=dark)
        if picture := PICTURES.get(name):
            screen.picture(SCREENS / f"{picture}_{width}_{'dark' if dark else 'light'}.png")
        if found := [*screen.run(LAYOUT), *screen.errors]:
            wrong[name] = found
    assert not wrong


@pytest.mark.heavy
def test_the_page_of_a_run_needs_no_other_file_and_no_network(screen, pages):
    page = pages["report.html"].as_uri()
    screen.open(page, width=1400, dark=False)
    assert [address for address in screen.requests if not address.startswith("data:")] == [page]
