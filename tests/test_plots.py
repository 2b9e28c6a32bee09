"""Plots draw the right number of points into the Axes that they are given, and return those."""

import types

import numpy as np
import pytest

from stbp_jax import gaussian, plots, rectangular

figure = pytest.importorskip("matplotlib.figure", reason="plots need matplotlib")


@pytest.fixture
def axes():
    return figure.Figure().subplots()  # no pyplot: no window, no global state


def dots(axes):
    return [np.asarray(c.get_offsets()) for c in axes.collections]


def test_raster_draws_a_dot_a_spike(axes):
    spikes = np.zeros((6, 4), np.float32)
    where = [(0, 1), (2, 1), (2, 3), (5, 0)]
    for t, n in where:
        spikes[t, n] = 1
    assert plots.raster(axes, spikes) is axes
    drawn = np.concatenate(dots(axes))
    assert sorted(map(tuple, drawn.astype(int))) == sorted(where)
    assert axes.get_xlim() == (-0.5, 5.5)
    assert axes.get_ylim() == (-0.5, 3.5)


def test_raster_sets_the_labelled_unit_apart(axes):
    spikes = np.ones((3, 4))
    plots.raster(axes, spikes, label=2)
    sizes = {len(d): d for d in dots(axes)}
    assert set(sizes) == {3, 9}
    assert np.all(sizes[3][:, 1] == 2)
    colours = [tuple(c.get_edgecolor().ravel()) for c in axes.collections]
    assert len(set(colours)) == 2


def test_raster_of_silence_has_no_dots(axes):
    plots.raster(axes, np.zeros((3, 30)))
    assert sum(map(len, dots(axes))) == 0


def test_curves_draw_a_line_a_surrogate(axes):
    surrogates = [rectangular(0.5), gaussian(1.0)]
    assert plots.curves(axes, surrogates, extent=2.0) is axes
    assert len(axes.lines) == 2
    for line, s in zip(axes.lines, surrogates, strict=True):
        x, y = line.get_data()
        assert (x[0], x[-1]) == (-2, 2)
        np.testing.assert_allclose(y, s.derivative(x), rtol=1e-6)
        np.testing.assert_allclose(np.trapezoid(y, x), 1, atol=0.06)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [label.split("(")[0] for label in labels] == ["rectangular", "gaussian"]


def test_learning_curve_shows_errors_in_percent(axes):
    history = types.SimpleNamespace(
        train_accuracy=np.array([0.5, 0.9, 1.0]), test_accuracy=np.array([0.5, 0.8, 0.75])
    )
    assert plots.learning_curve(axes, history) is axes
    train, test = (line.get_data() for line in axes.lines)
    np.testing.assert_array_equal(train[0], [1, 2, 3])
    np.testing.assert_allclose(test[1], [50, 20, 25])
    np.testing.assert_allclose(train[1][:2], [50, 10])
    assert np.isnan(train[1][2])  # no error has no place on a logarithmic axis
    assert axes.get_yscale() == "log"


def test_plots_can_be_drawn(axes):
    # Layout problems, such as a log axis without positive values, only show when it is rendered.
    plots.raster(axes, np.eye(4), label=1)
    axes.figure.canvas.draw()
