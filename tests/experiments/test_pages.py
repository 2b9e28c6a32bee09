"""The pages of run folders: complete, without a network, and right for runs that went wrong."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from experiments import __main__ as command_line
from experiments.engine import folders, measurements, rows, studies, tensorboard
from experiments.engine.config import Config, UsageError
from experiments.report import pages
from experiments.report.pages import charts, comparison, markup

CONFIG = Config().but(name="digits", layers="8-3", epochs=2, num_steps=4)
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def epoch(number, accuracy, place=(), **more):
    """A line of metrics of a single run, or of the same numbers for all points and seeds."""

    def full(value):
        return np.full((*place, *np.shape(value)), value)

    numbers = {
        "loss": 0.5, "train_accuracy": accuracy - 0.1, "test_loss": 0.6, "test_accuracy": accuracy,
        "firing_rate": [0.2, 0.1], "silent_fraction": [0.0, 0.1], "in_window": [0.3, 0.4],
        "operations": [900.0, 80.0], "non_finite_updates": 0,
    } | more  # fmt: skip
    line = {"epoch": number, "seconds": 1.5 * number, "validation_accuracy": None}
    return line | {name: full(value) for name, value in numbers.items()}


MEASURED = {
    "confusion": np.array([[5, 1, 0], [0, 6, 0], [2, 0, 4]]),
    "rates_0": np.linspace(0, 1, 8),
    "rates_1": np.array([0.1, 0.2, 0.3]),
    "label": np.array(2),
    "before": np.eye(4, 3),
    "after": np.eye(4, 3, 1),
    "spikes_0": np.eye(4, 8) > 0,
    "spikes_1": np.eye(4, 3, 1) > 0,
    "layers": np.array(["0", "1"]),
    "units": np.array([8, 3]),
}


@pytest.fixture
def folder(tmp_path):
    """`(name, epochs, seed, points, **changes of the config) -> run folder`."""

    def make(name, lines, *, seeds=(0,), points=None, measured=MEASURED, **changes):
        path = tmp_path / name
        path.mkdir(parents=True)
        config = CONFIG.but(**changes)
        job = studies.Job("digits", "stbp", "quick", list(seeds), config, points)
        content = job._asdict() | {"config": config.asdict(), "source": {"device": "cpu: <a & b>"}}
        folders.write_json(path / folders.JOB, content)
        rows.write_lines(path / folders.METRICS, lines)
        if measured:
            measurements.save(path, measured)
        (path / "surrogates.png").write_bytes(PIXEL)
        return path

    return make


class Reader(HTMLParser):
    """Checks that elements are closed in order, and collects elements and text."""

    VOID = {"meta", "img", "br", "link"}

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def named(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def check(page):
    """What holds of every page: self-contained, named, and with alternative texts."""
    found = Reader(page)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.elements}
    for _, attrs in found.elements:
        for name in ("src", "href", "srcset"):
            value = attrs.get(name) or "#"
            assert value.startswith(("#", "data:")), value[:80]
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    for picture in found.named("svg"):
        assert picture["role"] == "img"
        assert len(picture["aria-label"]) > 20
    assert all(len(picture["alt"]) > 10 for picture in found.named("img"))
    names = [attrs["id"] for _, attrs in found.elements if "id" in attrs]
    assert len(names) == len(set(names))
    used = re.findall(r'(?:url\(#|href="#)([^)"]*)', page)
    assert set(used) <= set(names)
    assert len(found.named("h1")) == 1
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page
    assert charts.INK not in page
    return " ".join(" ".join(found.words).split()), found


def report(path):
    return check(pages.write_report(path).read_text())


def test_a_run(folder):
    text, found = report(folder("a", [epoch(1, 0.8), epoch(2, 0.9)]))
    for words in (
        "digits/stbp, budget quick, seed 0", "98 % or more", "90.00 %", "No update diverged",
        "spiking layer 1", "8 units, 4 spikes", "2 as 0 (2), 0 as 1 (1)", "learning_rate",
        "cpu: <a & b>", "surrogates.png",
    ):  # fmt: skip
        assert words in text
    # Error, loss, rates and window over epochs, rates of units, output twice, one hidden layer.
    assert len(found.named("svg")) == 8
    assert "Line chart of the error rate over epochs." in found.named("svg")[0]["aria-label"]
    assert "test: from 20 to 10 percent." in found.named("svg")[0]["aria-label"]
    assert len(found.named("img")) == 1


def test_a_page_is_the_same_at_every_call(folder):
    path = folder("a", [epoch(1, 0.8), epoch(2, 0.9)])
    assert pages.write_report(path).read_bytes() == pages.write_report(path).read_bytes()


def test_a_run_that_went_wrong(folder):
    nan = float("nan")
    lines = [
        epoch(1, 0.1),
        epoch(2, 0.1, loss=nan, non_finite_updates=7, firing_rate=[0.0, 0.95], in_window=[0, 0.0]),
    ]
    measured = MEASURED | {"after": np.full((4, 3), nan), "confusion": np.zeros((3, 3), int)}
    text, _ = report(folder("a", lines, measured=measured, epochs=9))
    for words in (
        "2 of 9", "7 updates were not finite (loss, gradient or parameters), the first in epoch 2",
        "spiking layer 0 fires nowhere", "spiking layer 1 fires at 95 % of the steps",
        "and has none of its membranes in the window",
        "some are NaN",
    ):  # fmt: skip
        assert words in text
    assert "No update diverged" not in text


def test_a_run_before_its_first_epoch_and_without_spikes(folder):
    text, _ = report(folder("begun", [], measured=None))
    assert "learning_rate" in text
    none = {name: [] for name in ("firing_rate", "silent_fraction", "in_window", "operations")}
    text, found = report(folder("ann", [epoch(1, 0.8, **none)], measured=None))
    assert "Layers" not in text
    assert len(found.named("svg")) == 2


def test_a_sweep(folder):
    points = [{"width": width} for width in (0.1, 1.0, 10.0)]
    lines = [epoch(n, accuracy, (3, 2)) for n, accuracy in ((1, 0.7), (2, 0.9))]
    lines[1]["test_accuracy"] = np.array([[0.5, 0.7], [0.9, 0.9], [0.6, 0.6]])
    lines[1]["non_finite_updates"] = np.array([[0, 3], [0, 0], [0, 0]])
    path = folder("sweep", lines, seeds=(0, 4), points=points, measured=None)
    text, found = report(path)
    assert "60.00 ± 0.00" in text
    assert "+40.00" in text
    assert "1 of 2" in text
    assert "3 updates were not finite (loss, gradient or parameters), the first in epoch 2" in text
    assert "the best mean is 90.00 percent at width 1." in found.named("svg")[0]["aria-label"]


# Several runs ------------------------------------------------------------------------------------


def test_runs_are_compared_with_what_differs(folder, tmp_path):
    folder("a/seed0", [epoch(1, 0.8), epoch(2, 0.9)])
    folder("a/seed1", [epoch(1, 0.8), epoch(2, 0.94)], seeds=(1,))
    folder("b", [epoch(1, 0.5)], learning_rate=0.5)
    found = pages.found_in([tmp_path / "a", tmp_path / "b"])
    groups = comparison.experiments(cell for run in found for cell in run.cells())
    assert comparison.labels(groups) == ["learning_rate 0.001", "learning_rate 0.5"]
    assert [len(group.cells) for group in groups] == [2, 1]
    pages.write_comparison(found, tmp_path / "new" / "page.html")
    text, drawn = check((tmp_path / "new" / "page.html").read_text())
    for words in ("92.00 ± 2.83", "-40.00", "1 of 2 epochs", "seed1"):
        assert words in text
    assert len(drawn.named("svg")) == 1
    with pytest.raises(UsageError, match=r"must be the folder of a run: it holds no config\.json"):
        pages.found_in([tmp_path / "new"])


def test_the_same_settings_twice_differ_in_the_folder(folder):
    found = pages.found_in([folder("a", [epoch(1, 0.8)]), folder("b", [epoch(1, 0.9)])])
    groups = comparison.experiments(cell for run in found for cell in run.cells())
    assert comparison.differing(groups) == ["folder"]


def test_the_command_line_compares(folder, tmp_path, capsys):
    paths = [str(folder(name, [epoch(1, 0.8)])) for name in ("a", "b")]
    out = tmp_path / "page.html"
    assert command_line.main(["compare", *paths, "--out", str(out)]) == 0
    assert f"page {out}" in capsys.readouterr().out
    assert out.exists()
    assert command_line.main(["compare", paths[0], str(tmp_path / "c"), "--out", str(out)]) == 2
    assert "must be the folder of a run" in capsys.readouterr().err
    assert command_line.main(["compare", "digts"]) == 2
    assert "neither a run folder nor a study. Did you mean 'digits'" in capsys.readouterr().err
    assert command_line.main(["compare"]) == 2


def test_a_number_aligns_right():
    page = markup.table(["", "n", "word"], [["a", "-1.5 ± 0.2", "2 b"], ["b", ("–", "bad"), "3"]])
    assert '<td class="n bad">–</td>' in page
    assert "<td>2 b</td><" in page.replace("</tr>", "<")


# TensorBoard -------------------------------------------------------------------------------------


def events(path):
    """Tags, steps and values in the event files of a folder, in the order of the files."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(path.iterdir(), key=lambda one: one.stat().st_mtime_ns):
        data, at = file.read_bytes(), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + size])
            found += [(one.tag, event.step, one.simple_value) for one in event.summary.value]
            at += size + 16
    return found


def test_events_of_each_epoch(tmp_path):
    pytest.importorskip("tensorboardX")
    with tensorboard.writer()(tmp_path) as follow:
        follow(json.loads(json.dumps(epoch(1, 0.5), default=rows.plain)))
        follow(epoch(2, 0.75, (2, 1)))
    found = events(tmp_path / "tensorboard")
    assert ("test_accuracy", 1, 0.5) in found
    assert ("test_accuracy/1/0", 2, 0.75) in found
    assert [round(value, 4) for tag, _, value in found if tag == "firing_rate/1"] == [0.1]
    assert not [tag for tag, _, _ in found if tag.startswith(("validation", "epoch"))]


def test_a_missing_writer_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(command_line.sys.modules, "tensorboardX", None)
    asked = ["run", "digits", "--tensorboard", "--out", str(tmp_path / "run")]
    assert command_line.main(asked) == 2
    assert "pip install tensorboardX" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
