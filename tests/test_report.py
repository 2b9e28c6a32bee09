"""Pages and pictures rendered from rows: what stands in a table, what is stale, what is smoke."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import harness, paper
from experiments.classification import variant
from experiments.images import Settings
from experiments.report import __main__ as report
from experiments.report import curves, page, tables
from experiments.report.groups import groups, interval, of_plan, paired
from experiments.study import STUDIES, Plan, Study, planned, rows_of

SETTINGS = Settings(data="digits", hidden="8", num_steps=3, epochs=3, batch_size=50)
STUDY = Study(
    name="mnist_mlp",
    claim="A claim.",
    variants={
        "stbp": variant("spikes", SETTINGS, cpu=Plan(3), full=Plan(5, ("epochs=9",))),
        "twin": variant("does not", SETTINGS, cpu=Plan(3), full=Plan(3)),
        "dropout": variant("is dear", SETTINGS, cpu=None, full=Plan(5)),
    },
)


def row(name="stbp", seed=0, accuracy=0.98, budget="cpu", **more):
    settings = planned(STUDY, name, budget).settings
    return {
        "study": STUDY.name,
        "variant": name,
        "budget": budget,
        "dataset": settings.data,
        "network": "64-8-10",
        "num_steps": settings.num_steps,
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "seed": seed,
        "hparams": {"decay": settings.decay},
        "settings": harness.plain(settings),
        "num_train": 1438,
        "test_accuracy_last": accuracy,
        "test_accuracy_best": accuracy + 0.001,
        "test_accuracy_selected": None,
        "test_accuracy": [accuracy - 0.2, accuracy - 0.01, accuracy],
        "operations": [1200.0, 300.0] if name == "stbp" else [],
        "multiply_accumulates": 1000,
        "wall_seconds": 10.0,
        "compile_seconds": 1.0,
        "device": "cpu: a",
        "jax": "0",
        "commit": "c",
        "command": "python -m experiments x",
        "date": f"2026-01-01T00:00:0{seed}",
        **more,
    }


THREE = [row(seed=s, accuracy=a) for s, a in enumerate((0.97, 0.98, 0.99))]


def lines(text):
    return [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]


def test_pages_show_their_rows():
    assert report.main(["--check"]) == 0


def test_a_line_an_experiment():
    rows = [*THREE, row("twin"), row(budget="smoke", epochs=1) | {"budget": "smoke"}]
    head, _, stbp, twin, *unrun = lines(tables.study_table(STUDY, rows, None))
    stbp, twin = (dict(zip(head, line, strict=True)) for line in (stbp, twin))
    assert stbp["last epoch (%)"] == "98.00 ± 1.00"
    assert stbp["seeds"] == "0 to 2"
    assert stbp["chosen on validation (%)"] == "-"
    assert stbp["operations an example (of the twin's)"].endswith("(1.50 x)")
    assert twin["last epoch (%)"] == "98.00"
    assert twin["operations an example (of the twin's)"].endswith("(1.00 x)")
    # What has no rows says so; the twin's full plan asks for no more than its other.
    assert [line[:3] for line in unrun] == [
        ["stbp", "full", "not run"],
        ["dropout", "full", "waits for a GPU"],
    ]


def test_experiments_of_a_variant_are_told_apart():
    settings = harness.plain(SETTINGS)
    wide = row(settings=settings | {"width": 2.0}, hparams={"decay": 0.2, "width": 2.0})
    text = tables.study_table(STUDY, [row(), wide], None)
    assert [line[2] for line in lines(text)[:4]] == ["with", "---", "width=1.0", "width=2.0"]


def test_a_seed_run_again_counts_once():
    again = row(seed=1, accuracy=0.5, date="2027")
    (group,) = groups([*THREE, again])
    assert group.values("test_accuracy_last").tolist() == [0.97, 0.5, 0.99]


def test_rows_of_a_plan():
    other = row(settings=harness.plain(SETTINGS) | {"decay": 0.9})
    old = {k: v for k, v in row().items() if k != "settings"}
    asked = planned(STUDY, "stbp", "cpu")
    assert of_plan(asked, groups([other])) == []
    assert len(of_plan(asked, groups([old]))) == 1
    assert len(of_plan(asked, groups([old | {"epochs": 7}]))) == 0
    there = [group.newest["device"] for group in of_plan(asked, groups([*THREE, row(device="b")]))]
    assert there == ["cpu: a", "b"]


def test_a_seed_from_before_a_setting_stands_with_those_after(tmp_path):
    """A setting that is younger than a row had, when it ran, what is its default now."""
    file = tmp_path / "mnist_mlp" / "results" / "digits.jsonl"
    file.parent.mkdir(parents=True)
    young = row(seed=1)
    old = {k: v for k, v in young["settings"].items() if k != "epsilon"}
    other = young["settings"] | {"epsilon": 0.1}
    for told in (row(seed=0, settings=old), young, row(seed=2, settings=other)):
        harness.append_row(file, told)
    both, alone = groups(rows_of("mnist_mlp", tmp_path))
    assert [r["seed"] for r in both.rows] == [0, 1]
    assert [r["seed"] for r in alone.rows] == [2]


def test_differences_are_paired():
    ours, than = (groups(rows)[0] for rows in (THREE, [row("twin", 1), row("twin", 2, 0.985)]))
    assert paired(ours, than) == pytest.approx([0, 0.5])
    low, high = interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-3)  # t(2) = 4.3027
    assert interval(np.array([1.0])) is None


def shown(rows, **more):
    return {"mnist_mlp": page.Shown(STUDY, rows, "It holds.", SimpleNamespace(**more))}


def test_the_page_of_all_studies():
    text = page.page(shown(THREE))
    section = text[text.index("## Table 2") : text.index("## Table 3")]
    for told in (
        "98.89 [T]",
        "HM2BP",
        "98.00 ± 1.00",
        "| stbp: 98.90 or more, no augmentation, T <= 30 | cpu | 98.00 ± 1.00 | -0.90 | not ",
        "Finding: It holds.",
        "    python -m experiments x",
        "waits for a GPU",
    ):
        assert told in section, told
    assert "[M] remembered, not verified" in text
    assert "Ours: no study yet." in text  # of the others


def test_a_study_may_have_a_table_of_its_own():
    text = page.page(shown(THREE, table=lambda rows: f"own table of {len(rows)} rows"))
    assert "own table of 3 rows\n\n| variant | budget |  |" in text


@pytest.mark.parametrize(
    ("count", "least", "told"),
    [
        (3, -0.5, "reached"),
        (3, 0.1, "not reached"),
        (2, -0.5, "2 of 3 seeds"),
        (3, None, "told"),
    ],
)
def test_a_target_beside_the_twin(count, least, told):
    rows = [row(seed=s, accuracy=0.98 + s / 1e4) for s in range(count)]
    rows += [row("twin", s, 0.98) for s in range(3)]
    entry = paper.Entry("stbp", "", None, (paper.Target("so", least, "twin"),))
    (line,) = page._distances(entry, shown(rows)["mnist_mlp"], groups(rows))
    assert line[-1] == told
    assert line[-2].startswith("+0.01 to twin [-0.01, +0.03]" if count == 3 else "+0.00 to twin")


def test_cells_of_a_sweep_are_compared_with_their_like():
    def cells(name, gain):
        return [
            row(name, seed, 0.9 + gain * decay, hparams={"decay": decay}, cells=6)
            for decay in (0.2, 0.5)
            for seed in range(3)
        ]

    rows = [*cells("stbp", 0.02), *cells("twin", 0.0)]
    entry = paper.Entry("stbp", "", None, (paper.Target("more", None, "twin"),))
    lines = page._distances(entry, shown(rows)["mnist_mlp"], groups(rows))
    assert [(line[0], line[3][:13]) for line in lines] == [
        ("stbp: more (decay=0.2)", "+0.40 to twin"),
        ("stbp: more (decay=0.5)", "+1.00 to twin"),
    ]
    assert "10 (1) for 6 runs at once" in tables.study_table(STUDY, rows, None)
    labels = [label for label, _ in curves.lines(STUDY, rows)]
    assert labels[:2] == ["stbp, cpu, decay=0.2", "stbp, cpu, decay=0.5"]


def test_a_finding_has_no_links():
    begin, end = page.FINDING
    assert page.finding(f"x {begin}\nIt\nholds.\n{end} y") == "It holds."
    assert page.finding("none") == ""
    with pytest.raises(ValueError, match="finding must have no links"):
        page.finding(f"{begin}see [it](there){end}")


def test_curves_are_drawn_once(tmp_path):
    assert not curves.draw(STUDY, [row()], tmp_path)  # one seed has no band
    assert curves.draw(STUDY, THREE, tmp_path)
    first = (tmp_path / curves.NAME).read_bytes()
    assert not curves.draw(STUDY, THREE, tmp_path)
    (tmp_path / curves.NAME).unlink()
    assert curves.draw(STUDY, THREE, tmp_path)
    assert (tmp_path / curves.NAME).read_bytes() == first
    assert curves.draw(STUDY, [*THREE, row("twin"), row("twin", 1)], tmp_path)
    older = [{k: v for k, v in r.items() if k != "test_accuracy"} for r in THREE]
    assert curves.lines(STUDY, older) == []


def test_a_stale_page_is_told_and_rendered(tmp_path, capsys):
    for name in STUDIES:
        (tmp_path / name).mkdir()
        shutil.copy(harness.HERE / name / "README.md", tmp_path / name)
    assert report.main([], tmp_path) == 0
    assert report.main(["--check"], tmp_path) == 0
    all_studies = tmp_path / "README.md"
    all_studies.write_text(all_studies.read_text().replace("98.89", "98.98"))
    capsys.readouterr()
    assert report.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out == f"stale: {all_studies}\n"
    harness.append_row(tmp_path / "digits" / "results" / "digits.jsonl", row())
    assert report.main(["--check"], tmp_path) == 1
    assert "digits/README.md" in capsys.readouterr().out


def test_a_page_needs_its_markers():
    with pytest.raises(ValueError, match="page of mnist_mlp must hold"):
        report.rendered("no markers", STUDY, [], None)


def test_what_the_paper_says_is_marked():
    entries = [entry for section in paper.SECTIONS for entry in section.entries]
    assert all(set(entry.paper.marks) <= set(paper.MARKS) for entry in entries if entry.paper)
