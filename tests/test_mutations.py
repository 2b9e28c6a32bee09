"""The list of mutations fits the code; `python -m tests.mutations` tries them, for hours."""

from tests import mutations


def test_every_mutation_finds_its_text_once():
    texts = {
        file: (mutations.ROOT / file).read_text() for file in {m.file for m in mutations.read()}
    }
    assert [m.name for m in mutations.read() if texts[m.file].count(m.old) != 1] == []
