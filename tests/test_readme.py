"""The README: its Python blocks run unchanged, it is short, and the site opens with its example."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block(block, capsys):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    said = re.search(r"test accuracy ([\d.]+)%", capsys.readouterr().out)
    assert float(said[1]) > 95


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 130
    assert [sum(map(bool, block.splitlines())) <= 15 for block in BLOCKS] == [True]


def test_the_site_opens_with_the_same_example():
    cells = re.findall(r"```\{code-cell\}\n(.*?)```", (ROOT / "docs/index.md").read_text(), re.S)
    assert cells[0] == BLOCKS[0]


def test_links_lead_somewhere():
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link).exists(), link
