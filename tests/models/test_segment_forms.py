"""A power of its own on the form of all segments, for each that has too few losses for a tail."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from calibrate import JointLossModel, LossHistory
from calibrate.models import tail_table
from calibrate.models.forms import Forms
from calibrate.models.segment_forms import powers_of, segment_powers
from calibrate.models.sizes import Seen
from calibrate.models.sizes_again import sizes_again

OFTEN, RARE = 600, 60


def seen(laws, counts, rng, members=8, bounds=False):
    """Losses of segments, each by a law of its own, on months of five years."""
    segment = np.repeat(np.arange(len(counts)), counts)
    losses = np.concatenate([law.rvs(n, random_state=rng) for law, n in zip(laws, counts, strict=True)])
    owner, when = rng.integers(members, size=losses.size), rng.integers(60, size=losses.size)
    owner[:members] = np.arange(members)
    names, exposures = [f"s{g}" for g in range(len(counts))], np.ones((members, len(counts)))
    at_least = bounds & (segment == 1) & (np.arange(losses.size) % 9 == 0)
    return Seen.of(names, losses, segment, owner, when, exposures, [None] * len(counts), at_least)


def test_powers_are_those_of_the_losses_as_far_as_these_tell():
    """Deviations .7, 1.8 and .25 of 600, 30 and 150 losses: errors of the logs, and of the error that is said."""
    rng, segment, truth = np.random.default_rng(1), np.repeat(np.arange(3), [600, 30, 150]), np.array([0.7, 1.8, 0.25])
    off, doubts = [], []
    for _ in range(200):
        power, doubt = segment_powers(truth[segment] * rng.standard_normal(780), segment, rng.integers(60, size=780), 3)
        off.append(np.log(power[1:] / power[0] / (truth[1:] / truth[0])))
        doubts.append(doubt)
    deviation = np.sqrt((np.pi / 2 - 1) * (1 / np.array([30, 150]) + 1 / 600))  # of the log of a mean distance
    assert (np.abs(np.mean(off, axis=0)) < [0.07, 0.02]).all()  # drawn to the middle
    np.testing.assert_allclose(np.std(off, axis=0), deviation, rtol=0.2)
    np.testing.assert_allclose(np.mean(doubts, axis=0), 1.0, atol=0.05)


def test_segments_that_scatter_alike_have_nearly_one_form():
    """Their log-powers lie .06 apart where 30 losses tell .14; who has nine losses, or bounds only, has none."""
    rng, segment = np.random.default_rng(2), np.repeat(np.arange(3), [600, 30, 9])
    found = np.array([segment_powers(rng.standard_normal(639), segment, np.arange(639), 3)[0] for _ in range(200)])
    assert 0.03 < np.log(found[:, 1] / found[:, 0]).std() < 0.08
    assert (found[:, 2] == 1.0).all()
    assert segment_powers(rng.standard_normal(9), np.zeros(9, dtype=int), np.arange(9), 1)[0].tolist() == [1.0]
    constant = np.where(segment == 1, 0.0, rng.standard_normal(639))
    assert segment_powers(constant, segment, np.arange(639), 3)[0].tolist() == [1.0] * 3
    losses = [np.exp(s * rng.standard_normal(90)) for s in (1.0, 3.0)]
    none, some = np.zeros(90, dtype=bool), np.arange(90) == 3
    when = [np.arange(90)] * 2
    assert powers_of(losses, when, [none, some])[0].tolist() == [1.0, 1.0]
    power = powers_of(losses, when, [none, none])[0]
    assert power[1] / power[0] == pytest.approx(3.0, rel=0.3)


def means(one):
    """Mean loss of the second segment over its true one, in the form of its own and in that of all."""
    plain = Seen(**(vars(one) | {"power": np.ones(2), "doubt": np.zeros(2)}))
    return one.fit()[1].mean(), plain.fit()[1].mean()


def errors(laws, truth, pools=24, counts=(OFTEN, RARE)):
    """Mean of the log of mean losses over the true one, and root of its mean square, in one form and in the other."""
    found = [means(seen(laws, counts, np.random.default_rng([3, seed]))) for seed in range(pools)]
    logs = np.log(np.array(found) / truth)
    return logs.mean(axis=0), np.sqrt((logs**2).mean(axis=0))


@pytest.mark.slow
@pytest.mark.parametrize("law", [stats.lognorm(1.0), stats.burr12(1.5, 1.8)], ids=["lognormal", "heavy"])
def test_segments_of_one_form_are_charged_as_well_as_before(law):
    """Sixty losses beside six hundred of the same law: in the mean the same, and no farther from the truth."""
    bias, error = errors([law, law], law.mean())
    assert abs(bias[0] - bias[1]) < 0.03
    assert error[0] < 1.1 * error[1]  # of 150 pools 1.02 and .96 times as far


@pytest.mark.parametrize(("deviation", "error_of_mean"), [(1.5, 0.07), pytest.param(0.3, 0.01, marks=pytest.mark.slow)])
def test_segments_that_scatter_unlike_the_rest_are_charged_what_they_cost(deviation, error_of_mean):
    """The one form of all charged .47 and 1.21 of it."""
    bias, error = errors([stats.lognorm(0.7), stats.lognorm(deviation)], np.exp(deviation**2 / 2))
    assert abs(np.exp(bias[0]) - 1) < 2 * error_of_mean
    assert abs(np.exp(bias[1]) - 1) > 0.15
    assert error[0] < 0.6 * error[1]


def history(rare):
    """Six hundred losses of deviation .7 in one segment, and those of another; eight members, five years."""
    rng, often = np.random.default_rng(5), 1e3 * np.exp(0.7 * stats.norm.ppf((np.arange(OFTEN) + 0.5) / OFTEN))
    loss = np.concatenate([rng.permutation(often), rng.permutation(rare)])
    frame = pd.DataFrame({"loss": loss, "segment": np.repeat(["often", "rare"], [OFTEN, rare.size])})
    frame["date"] = pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(1826, size=loss.size), unit="D")
    frame["member"] = [f"m{i}" for i in rng.integers(8, size=loss.size)]
    names = {name: name for name in ("date", "member", "loss", "segment")}
    return LossHistory.from_events(frame, period="Q", start="2019-01-01", end="2023-12-31", **names)


@pytest.mark.slow
def test_a_rare_segment_that_scatters_more_costs_what_its_own_losses_say():
    """A hundred losses of deviation 1.5: in the form of all they cost half of it, and without a word."""
    quantiles = stats.norm.ppf((np.arange(100) + 0.5) / 100)
    model = JointLossModel().fit(history(1e4 * np.exp(1.5 * quantiles)))
    cost = model.summary_["expected_loss"].groupby(level="segment").sum()["rare"]
    assert cost / (5 * 1e4 * np.exp(1.5**2 / 2)) == pytest.approx(1.0, abs=0.2)
    (said,) = [flag for flag in model.flags_ if flag.startswith("segment 'rare': 100 losses are too few for a tail")]
    power = model.summary_["severity_power"].xs("rare", level="segment").iloc[0]
    assert f"its form is that of all segments, to the power {power:.2f}: so far its losses scatter beside those" in said
    assert "misses" not in said
    table = tail_table(model)["shape"].groupby(level="segment").first()
    assert table["rare"] == pytest.approx(power * model.margins_.segments[1].sizes.shape)
    drawn = model.sample(100_000, random_state=1).losses
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    np.testing.assert_array_less(np.abs(drawn.mean(axis=0) - model.summary_["expected_loss"]), 5 * error)


def test_a_borrowed_form_that_its_own_losses_refute_is_told():
    """Losses of two sizes a factor of twenty apart scatter by a power, but are none of the form of all."""
    steps = 1e4 * np.exp(np.where(np.arange(150) % 2, 3.0, 0.0) + 0.1 * np.random.default_rng(6).standard_normal(150))
    flags = JointLossModel().fit(history(steps)).flags_
    (said,) = [flag for flag in flags if flag.startswith("segment 'rare': 150 losses are too few for a tail")]
    assert "Spliced misses losses of its own: of a member of the segment's scale 50% lie above" in said


def test_what_few_losses_leave_open_of_a_power_is_in_the_scenarios():
    """Deviation of the log of a power over 32 histories, about that of the mean distance of sixty losses."""
    one = seen([stats.lognorm(0.7), stats.lognorm(1.5)], (OFTEN, RARE), np.random.default_rng(7))
    fitted = one.fit()
    powers = np.array([sizes[1].forms.power for sizes in sizes_again(one, fitted, 32)])
    assert (powers == powers[:, :1]).all()  # of all members
    assert np.log(powers[:, 0]).std() == pytest.approx(0.756 / np.sqrt(RARE), rel=0.4)
    assert np.log(powers[:, 0]).mean() == pytest.approx(np.log(fitted[1].raised), abs=0.06)
    assert fitted[0].raised == 1.0
    assert fitted[1].has_mean
    assert not replace(fitted[1], forms=Forms(np.full(8, 1 / fitted[1].shape))).has_mean


def test_one_odd_loss_among_equals_makes_no_tail_of_all_segments():
    """Fifty-nine sums of a hundred and one ten times as large; raised to one over their scatter it was the tail."""
    rng = np.random.default_rng(0)
    odd = np.append(100 * np.exp(1e-3 * rng.standard_normal(59)), 1000.0)
    logs = [np.log(odd), rng.standard_normal(300), rng.standard_normal(50)]
    segment = np.repeat([0, 1, 2], [60, 300, 50])
    powers, doubt = segment_powers(np.concatenate(logs), segment, np.arange(410), 3)
    assert powers[0] == 1.0
    assert doubt[0] == 0.0
    np.testing.assert_allclose(powers[1:], 1.0, atol=0.1)
