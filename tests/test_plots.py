"""Plots draw the right number of points into the given Axes, and return the Axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import stbp_jax as sj
from stbp_jax import gaussian, plots, rectangular
from stbp_jax.training import Evaluation, History

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


def test_raster_sets_the_labeled_unit_apart(axes):
    spikes = np.ones((3, 4))
    plots.raster(axes, spikes, label=2)
    sizes = {len(d): d for d in dots(axes)}
    assert set(sizes) == {3, 9}
    assert np.all(sizes[3][:, 1] == 2)
    colors = [tuple(c.get_edgecolor().ravel()) for c in axes.collections]
    assert len(set(colors)) == 2


def test_raster_of_silence_has_no_dots(axes):
    plots.raster(axes, np.zeros((3, 30)))
    assert sum(map(len, dots(axes))) == 0


def test_membranes_are_lines_with_a_dot_a_spike(axes):
    membrane = np.arange(12.0).reshape(4, 3)
    spikes = (membrane % 4 == 0) * 1.0
    assert plots.membranes(axes, membrane, spikes=spikes, threshold=0.5) is axes
    lines = [line.get_data() for line in axes.lines]
    np.testing.assert_array_equal([y for _, y in lines[:3]], membrane.T)
    np.testing.assert_array_equal(lines[3][1], [0.5, 0.5])
    drawn = [(int(x), y) for d in dots(axes) for x, y in d]
    assert sorted(drawn) == sorted(
        (t, membrane[t, n]) for t, n in zip(*np.nonzero(spikes), strict=True)
    )


def a_record():
    neuron = sj.lif(threshold=0.25)
    net = sj.serial(
        sj.conv(2, 3, neuron),
        sj.flatten(),
        sj.dense(4, sj.current_based(sj.alif(threshold=0.25), decay=0.5)),
        sj.dense(3, sj.recurrent(neuron)),
        sj.dense(2, sj.leaky_integrator(decay=0.9)),
    )
    params, _ = net.init(jax.random.key(0), (4, 4, 1))
    return sj.record(net, params, jnp.ones((5, 2, 4, 4, 1)))[0]


def test_a_record_is_drawn_population_by_population():
    states = a_record()
    found = plots.populations(states)
    assert list(found) == ["0", "2/neuron", "3/neuron"]
    many = figure.Figure().subplots(3)
    assert plots.record(many, states, example=1, units=(0, 3)) is many
    assert [one.get_title() for one in many] == list(found)
    assert [len(one.lines) for one in many] == [2, 2, 1]
    membrane = np.asarray(found["0"].membrane)[:, 1].reshape(5, -1)
    np.testing.assert_array_equal(many[0].lines[1].get_data()[1], membrane[:, 3])
    spikes = np.asarray(found["2/neuron"].spikes)[:, 1][:, [0, 3]]
    assert sum(map(len, dots(many[1]))) == spikes.sum()
    many[0].figure.canvas.draw()


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"number": 2}, ValueError, "axes must be one for each of the 3 populations, got 2"),
        ({"example": 2}, ValueError, "example must be in the batch of 2, got 2"),
        ({"example": 0.5}, TypeError, "example must be a static integer"),
        ({"units": ["a"]}, TypeError, "units must be a static integer"),
        ({"states": jnp.ones((5, 2))}, ValueError, "fields membrane and spikes, got none"),
    ],
)
def test_records_refuse_by_name(kwargs, error, message):
    states = kwargs.pop("states", None)
    many = figure.Figure().subplots(kwargs.pop("number", 3))
    with pytest.raises(error, match=message):
        plots.record(many, a_record() if states is None else states, **kwargs)


@pytest.mark.parametrize(
    ("membrane", "kwargs", "error", "message"),
    [
        (np.ones(4), {}, ValueError, r"membrane must have shape \[T, N\]"),
        (np.ones((0, 4)), {}, ValueError, r"membrane must have shape \[T, N\]"),
        ("u", {}, TypeError, "membrane must be an array"),
        (np.ones((4, 2)), {"spikes": np.ones((4, 1))}, ValueError, "the shape of membrane"),
        (np.ones((4, 2)), {"threshold": "high"}, TypeError, "threshold must be a number"),
    ],
)
def test_membranes_refuse_by_name(axes, membrane, kwargs, error, message):
    with pytest.raises(error, match=message):
        plots.membranes(axes, membrane, **kwargs)


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
    run = history(np.array([0.5, 0.9, 1.0]), np.array([0.5, 0.8, 0.75]))
    assert plots.learning_curve(axes, run) is axes
    train, test = (line.get_data() for line in axes.lines)
    np.testing.assert_array_equal(train[0], [1, 2, 3])
    np.testing.assert_allclose(test[1], [50, 20, 25])
    np.testing.assert_allclose(train[1][:2], [50, 10])
    assert np.isnan(train[1][2])  # an error of 0 cannot be shown on a logarithmic axis
    assert axes.get_yscale() == "log"


def test_ticks_are_plain_numbers(axes):
    plots.learning_curve(axes, history(np.geomspace(0.5, 0.98, 4), np.geomspace(0.5, 0.97, 4)))
    axes.figure.canvas.draw()
    written = {tick.get_text() for tick in axes.get_yticklabels(which="both")} - {""}
    assert written >= {"5", "10", "20", "50"}
    assert all(set(text) <= set("0125.") for text in written)
    steps = plots.raster(figure.Figure().subplots(), np.eye(4)).get_xticks()
    assert all(float(step).is_integer() for step in steps)


def test_plots_can_be_drawn(axes):
    # Layout problems, such as a log axis without positive values, only show when it is rendered.
    plots.raster(axes, np.eye(4), label=1)
    axes.figure.canvas.draw()


# What is refused ---------------------------------------------------------------------------------

SPIKES = np.eye(4)


@pytest.mark.parametrize(
    ("spikes", "label", "error", "message"),
    [
        (SPIKES[0], None, ValueError, r"spikes must have shape \[T, N\].*got \[4\]"),
        (SPIKES[None], None, ValueError, r"got \[1, 4, 4\]"),
        (SPIKES[:0], None, ValueError, r"at least one each, got \[0, 4\]"),
        (SPIKES[:, :0], None, ValueError, r"at least one each, got \[4, 0\]"),
        ([], None, ValueError, r"got \[0\]"),
        (SPIKES * np.nan, None, ValueError, "spikes must be numbers, got 16 NaN"),
        (
            SPIKES.astype(str),
            None,
            TypeError,
            "spikes must be an array of real numbers",
        ),
        ("1010", None, TypeError, "spikes must be an array, got str"),
        ({0: [1]}, None, TypeError, "spikes must be an array, got dict"),
        (None, None, TypeError, "spikes must be an array, got NoneType"),
        (
            SPIKES + 0j,
            None,
            TypeError,
            "spikes must be an array of real numbers",
        ),
        (np.ma.array(SPIKES), None, TypeError, "got a masked array"),
        (SPIKES, 4, ValueError, r"label must be a unit in \[0, 4\), got 4"),
        (SPIKES, -1, ValueError, "label must be at least 0, got -1"),
        (SPIKES, 1.0, TypeError, "label must be a static integer, got 1.0"),
        (SPIKES, True, TypeError, "label must be a static integer, got True"),
        (SPIKES, "1", TypeError, "label must be a static integer, got '1'"),
    ],
)
def test_rasters_refuse_by_name(axes, spikes, label, error, message):
    with pytest.raises(error, match=message):
        plots.raster(axes, spikes, label=label)
    assert not axes.collections


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.float16])
def test_rasters_take_every_type_of_spikes(axes, dtype):
    plots.raster(axes, SPIKES.astype(dtype), label=np.int64(2))
    assert sorted(map(len, dots(axes))) == [1, 3]


@pytest.mark.parametrize(
    ("surrogates", "extent", "error", "message"),
    [
        ([], 3.0, ValueError, "surrogates must hold at least one surrogate, got none"),
        (gaussian(1.0), 3.0, TypeError, "surrogates must be a list of surrogates, got"),
        (["gaussian"], 3.0, TypeError, r"surrogates must be a list of surrogates, got \['gauss"),
        ([gaussian], 3.0, TypeError, "surrogates must be a list of surrogates, got"),
        ([gaussian(np.ones(2, np.float32))], 3.0, ValueError, r"one number, got shape \[2\]"),
        ([gaussian(1.0)], 0, ValueError, "extent must be positive and finite, got 0"),
        ([gaussian(1.0)], np.nan, ValueError, "extent must be positive and finite, got nan"),
        ([gaussian(1.0)], np.inf, ValueError, "extent must be positive and finite, got inf"),
        ([gaussian(1.0)], "3", TypeError, "extent must be a number, got '3'"),
        ([gaussian(1.0)], True, TypeError, "extent must be a number, got True"),
        ([gaussian(1.0)], [1, 3], TypeError, r"extent must be a number, got \[1, 3\]"),
    ],
)
def test_curves_refuse_by_name(axes, surrogates, extent, error, message):
    with pytest.raises(error, match=message):
        plots.curves(axes, surrogates, extent=extent)
    assert not axes.lines


def history(train, test):
    blank = np.zeros(np.shape(test))
    evaluation = Evaluation(blank, {"accuracy": test}, blank, blank, blank, blank)
    return History(blank, {"accuracy": train}, evaluation, blank)


GOOD = np.array([0.5, 0.75])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (history(GOOD[:0], GOOD[:0]), ValueError, r"history accuracy must have shape \[E\].*\[0\]"),
        (history(0.5, 0.5), TypeError, "history accuracy must be an array, got float"),
        (history(np.stack([GOOD] * 2), GOOD), ValueError, r"of one run .*got \[2, 2\]"),
        (history(GOOD, np.stack([GOOD] * 2)), ValueError, r"test accuracy must .*got \[2, 2\]"),
        (history(GOOD, GOOD[:1]), ValueError, "equally many epochs in both .*got 2 and 1"),
        (
            history(100 * GOOD, GOOD),
            ValueError,
            r"history accuracy must lie in \[0, 1\].* 50 to 75",
        ),
        (history(GOOD, -GOOD), ValueError, r"test accuracy must lie in \[0, 1\], .* -0.75 to -0.5"),
        (
            history(GOOD, GOOD.astype(str)),
            TypeError,
            "test accuracy must be an array of real",
        ),
        ({"accuracy": GOOD}, TypeError, "history must be a History, got dict"),
        (GOOD, TypeError, "history must be a History, got ndarray"),
    ],
)
def test_learning_curves_refuse_by_name(axes, given, error, message):
    with pytest.raises(error, match=message):
        plots.learning_curve(axes, given)
    assert not axes.lines


def test_learning_curves_leave_nan_out(axes):
    plots.learning_curve(axes, history([np.nan, 0.5], [np.nan, 0.75]))
    train, test = (line.get_ydata() for line in axes.lines)
    np.testing.assert_array_equal(train, [np.nan, 50])
    np.testing.assert_array_equal(test, [np.nan, 25])


def test_learning_curves_of_other_metrics(axes):
    values = np.array([2.0, 1.5])
    error = history(values, values)
    error = error._replace(
        metrics={"error": values}, test=error.test._replace(metrics={"error": values})
    )
    plots.learning_curve(axes, error)
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), values)
    assert (axes.get_ylabel(), axes.get_yscale()) == ("error", "linear")
    loss = error._replace(
        metrics={}, loss=values, test=error.test._replace(metrics={}, loss=values)
    )
    plots.learning_curve(axes, loss)
    assert axes.get_ylabel() == "loss"


def test_axes_of_another_kind():
    several = figure.Figure().subplots(2)
    for bad in (None, several, "axes", figure.Figure()):
        for draw in (
            lambda bad=bad: plots.raster(bad, SPIKES),
            lambda bad=bad: plots.curves(bad, [gaussian(1.0)]),
            lambda bad=bad: plots.learning_curve(bad, history(GOOD, GOOD)),
        ):
            with pytest.raises(TypeError, match="axes must be one Axes of matplotlib, got"):
                draw()


ROWS = [
    {"width": w, "rate": r, "last_mean": w + r, "last_sd": 0.1}
    for w in (2.0, 0.5, 1.0)
    for r in (1, 3)
]


def test_bands_draw_a_line_for_each_value(axes):
    assert plots.bands(axes, ROWS, "width", by="rate") is axes
    for line, rate in zip(axes.lines, (1, 3), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), [0.5, 1, 2])
        np.testing.assert_array_equal(line.get_ydata(), np.array([0.5, 1, 2]) + rate)
    assert len(axes.collections) == 2


def test_a_heat_map_has_a_cell_for_each_point_and_none_without(axes):
    assert plots.heat_map(axes, ROWS[:-1], "width", "rate") is axes
    shown = np.asarray(axes.images[0].get_array().filled(np.nan))
    np.testing.assert_array_equal(shown, [[1.5, 2, 3], [3.5, np.nan, 5]])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0.5", "1", "2"]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda axes: plots.bands(axes, [], "width"),
            "rows must be the dicts of summarize, got none",
        ),
        (lambda axes: plots.bands(axes, ROWS, "decay"), "rows must have 'decay', got"),
        (lambda axes: plots.bands(axes, ROWS, "width", by="decay"), "rows must have 'decay'"),
        (
            lambda axes: plots.heat_map(axes, ROWS * 2, "width", "rate"),
            "one row for each width and",
        ),
    ],
)
def test_charts_of_sweeps_refuse_by_name(axes, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(axes)
