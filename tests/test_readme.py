"""Every Python block of the README runs unchanged."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_block(block, capsys):
    if "nnx" in block:
        try:
            from flax import nnx  # noqa: F401
        except Exception as error:
            pytest.skip(f"flax.nnx does not import here: {error!r}")
    if "import grain" in block:
        pytest.importorskip("grain", reason="pip install stbp_jax[dev]")
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
