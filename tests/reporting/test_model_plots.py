"""Figures of tails and forecasts: what is drawn are the numbers, and what cannot be drawn is refused in words."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate.errors import DataError
from calibrate.models import backtest, severity
from calibrate.reporting import plots


def losses(unit=1.0, n=400):
    """Quantiles of a generalized Pareto law of shape 1/2 and scale 1: mean excess 2 + u."""
    return unit * stats.genpareto(0.5).ppf((np.arange(n) + 0.5) / n)


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def drawn(figure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")
    return figure


@pytest.mark.parametrize("unit", [1e-18, 1.0, 1e24])
def test_mean_excess_rises_as_the_law_says(unit):
    thresholds = np.array([0.5, 1.0, 2.0, 4.0]) * unit
    table = severity.threshold_table(losses(unit, 20_000), thresholds)
    (axes,) = drawn(plots.mean_excess(table, chosen=unit, currency="wei")).axes[:1]
    x, y = lines(axes)["mean excess"].get_data()
    slope = np.polyfit(x, np.asarray(y) * table["mean_excess"].iloc[0] / y[0] / (unit / x[1]), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.1)  # shape / (1 - shape) of shape 1/2
    assert lines(axes)["threshold taken"].get_xdata()[0] == pytest.approx(x[1])


def test_stability_shows_the_shapes_of_the_table():
    table = severity.threshold_table(losses())
    figure = drawn(plots.parameter_stability(table))
    shape, size, fit = figure.axes[:3]
    assert lines(shape)["shape"].get_ydata() == pytest.approx(table["shape"].to_numpy())
    assert size.lines[0].get_ydata() == pytest.approx(table["modified_scale"].to_numpy())
    assert fit.lines[0].get_ydata() == pytest.approx(table["p_value"].to_numpy())
    assert "threshold taken" not in lines(shape)
    low, high = shape.collections[0].get_datalim(shape.transData).get_points()[:, 1]
    edge = table["shape"] + stats.norm.ppf(0.975) * table["shape_error"]
    assert high == pytest.approx(edge.max())
    assert low == pytest.approx((2 * table["shape"] - edge).min())


def test_a_table_of_something_else_is_refused():
    with pytest.raises(DataError, match=r"needs the column\(s\) mean_excess and at least one row; pass what models"):
        plots.mean_excess(pd.DataFrame({"a": [1.0]}))
    with pytest.raises(DataError, match="shape, modified_scale, p_value and at least one row"):
        plots.parameter_stability(severity.threshold_table(losses()).iloc[:0])


def test_tail_plot_holds_the_law_and_the_losses():
    x = losses()
    law = severity.Spliced(tail=severity.GeneralizedPareto(severity.QuantileThreshold(0.8))).fit(x)
    (axes,) = drawn(plots.tail(law, x, cap=100.0)).axes
    at, chance = lines(axes)["fitted law"].get_data()
    assert chance == pytest.approx(law.sf(at))
    seen, share = lines(axes)["losses seen"].get_data()
    assert seen == pytest.approx(np.sort(x))
    assert share[[0, -1]] == pytest.approx([1 - 0.5 / 400, 0.5 / 400])
    assert f"tail from {law.threshold_:.3f}" in {name[: len("tail from 1.234")] for name in lines(axes)}
    assert lines(axes)["cap 100 USD"].get_xdata()[0] == pytest.approx(100.0)


def test_a_tail_alone_is_drawn_from_its_threshold():
    x = losses()
    law = severity.GeneralizedPareto(threshold=2.0).fit(x)
    (axes,) = drawn(plots.tail(law, x)).axes
    assert lines(axes)["fitted law"].get_xdata()[0] == pytest.approx(2.0)


def test_a_tail_plot_refuses_losses_that_are_none():
    law = severity.LogNormal().fit(losses())
    for wrong in ([], [1.0, 0.0], [1.0, np.nan]):
        with pytest.raises(DataError, match="at least one loss, all finite and > 0"):
            plots.tail(law, wrong)


@pytest.mark.parametrize(("n", "unit"), [(12, 1.0), (200, 1e24), (12, 1e-18)])
def test_backtest_marks_what_was_above_the_var(n, unit):
    rng = np.random.default_rng(1)
    periods = pd.period_range("2024-01", periods=n, freq="M")
    made = backtest.Forecasts.from_draws(
        unit * rng.exponential(2.0, n), unit * rng.exponential(1.0, (n, 500)), 0.8, periods
    )
    figure = drawn(plots.backtest(made))
    (axes,) = figure.axes
    assert made.exceedances.any()
    x, y = lines(axes)["loss above the VaR"].get_data()
    assert list(x) == list(np.flatnonzero(made.exceedances))
    ratio = made.losses[made.exceedances] / np.asarray(y)
    assert ratio == pytest.approx(np.full(ratio.size, ratio[0]))
    said = axes.get_title(loc="left")
    assert said == f"{made.exceedances.sum()} of {n} periods above the VaR; a right model expects {0.2 * n:.3g}"
    var = next(patch for patch in axes.patches if patch.get_label() == "VaR 80 %")
    assert var.get_data().values == pytest.approx(made.var / ratio[0])


def test_backtest_of_quiet_and_wild_periods_goes_by_powers_of_ten():
    made = backtest.Forecasts(np.array([0.0, 1.0, 1e4]), np.array([2.0, 2.0, 2.0]), np.array([3.0, 3.0, 3.0]), 0.9)
    (axes,) = drawn(plots.backtest(made)).axes
    assert axes.get_yscale() == "log"
    assert min(bar.get_y() for bar in axes.containers[0]) > 0


def test_time_rescaling_lies_on_the_diagonal_for_an_exponential():
    n = 200
    right = stats.expon.ppf((np.arange(n) + 0.5) / n)
    (axes,) = drawn(plots.time_rescaling({"right": right, "$wrong$": 3 * right})).axes
    x, y = lines(axes)["right"].get_data()
    assert x == pytest.approx(y)
    x, y = lines(axes)["$wrong$"].get_data()
    band = axes.collections[0].get_datalim(axes.transData).get_points()[1, 1] - 1
    assert band == pytest.approx(stats.kstwobign.ppf(0.95) / np.sqrt(n))
    assert np.abs(y - x).max() > band
    with pytest.raises(DataError, match="one finite residual >= 0 for each event"):
        plots.time_rescaling({"empty": []})
