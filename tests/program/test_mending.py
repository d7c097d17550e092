"""Multipliers whose last digits prove nothing, mended exactly."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate import Scenarios, fairness, verify
from calibrate.certificate import verifier
from calibrate.program import CostOfCapital, CVaR, PoolProblem, PoolReserve, Waterfall
from calibrate.program.mending import mended


def body(blocks, multipliers, costs=(0.25,), auxiliary=1):
    """A certificate without risk, as fractions, of a plan that costs 1."""
    rows = [["rule", kind, [[[[j, Fraction(a)] for j, a in row], Fraction(h)]]] for kind, row, h in blocks]
    return {
        "decimals": 12,
        "scale": Fraction(1),
        "costs": list(map(Fraction, costs)),
        "auxiliary": auxiliary,
        "terms": [],
        "limits": [],
        "objective": Fraction(1),
        "blocks": rows,
        "multipliers": {"blocks": [[Fraction(m)] for m in multipliers], "limits": [], "flows": []},
    }


# `x >= 2 - z`, `0 <= z` and `z <= x`: at best `x = z = 1`, with multipliers 1/8 and 1/8 of the first and the last row
ROWS = (("at_most", [(0, -1), (1, -1)], -2), ("at_most", [(1, -1)], 0), ("at_most", [(0, -1), (1, 1)], 0))


def proved(certificate, blocks):
    multipliers = certificate["multipliers"] | {"blocks": [list(map(Fraction, m)) for m in blocks]}
    return verifier.bound({**certificate, "multipliers": multipliers}, None, certificate["objective"])


def test_what_leans_to_an_endless_side_is_taken_from_who_pulls_there():
    endless = body(ROWS[:2], [0.25 * (1 + 1e-12), 0.0])
    with pytest.raises(ValueError, match="nothing bounds"):
        proved(endless, endless["multipliers"]["blocks"])
    assert proved(endless, mended(endless, None)) == 0  # `z` pays for all: multipliers that bound it are zero


def test_a_slope_that_leans_to_an_end_far_away_costs_no_more_than_it_may():
    far = body([*ROWS[:2], ("at_most", [(0, -1e9), (1, 1)], 0), ("at_most", [(0, -1)], -0.5)], [1e-6, 0, 0, 0.25])
    assert proved(far, far["multipliers"]["blocks"]) < -1000  # a slope of -1e-6 times all that `z` may be
    assert proved(far, mended(far, None)) < -1000
    assert proved(far, mended(far, None, spare=1e-8)) == pytest.approx(1 / 8, abs=1e-7)


def test_what_nothing_bounds_on_either_side_has_no_slope_at_all():
    """`q <= r` and `q >= r + 1` of free variables exclude each other: only equal multipliers say so."""
    rows = (("at_most", [(1, 1), (2, -1)], 0), ("at_most", [(1, -1), (2, 1)], -1))
    conflict = body(rows, [0.1, 0.1 * (1 + 1e-13)], costs=(0,), auxiliary=2) | {"objective": None}
    with pytest.raises(ValueError, match="nothing bounds"):
        proved(conflict, conflict["multipliers"]["blocks"])
    assert float(proved(conflict, mended(conflict, None))) == pytest.approx(0.1)


def test_a_sound_multiplier_stays_as_it_is():
    sound = body(ROWS, [0.125, 0.0, 0.125])
    assert mended(sound, None) == [[0.125], [0.0], [0.125]]
    assert float(proved(sound, mended(sound, None))) == pytest.approx(1 / 4, abs=1e-11)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(-1, 1))
def test_whatever_is_mended_is_valid(multipliers, free):
    """Multipliers stay in their cones and get no larger, equalities included, and a bound follows."""
    rows = (*ROWS, ("equal", [(0, 1), (2, -1)], 0))
    certificate = body(rows, [*multipliers, free], auxiliary=2)
    found = mended(certificate, None)
    assert found is not None
    for (new,), old in zip(found, [*multipliers, free], strict=True):
        assert min(old, 0) <= new <= max(old, 0)
    assert proved(certificate, found) <= 1


def test_a_cover_and_a_concentration_are_proved(tmp_path):
    """Auxiliary variables without an upper end, multipliers of cones: refused once for slopes of 1e-12."""
    rng = np.random.default_rng(0)
    losses = (rng.random((100, 12)) < 0.5) * 1.0
    rules = [fairness.ConcentrationLimit(0.3), fairness.CoverK(rng.random((2, 12)) * 12, 1)]
    terms = [CostOfCapital(0.02, 0.05), CVaR(0.99)]
    calibration = PoolProblem(Scenarios(losses), Waterfall((PoolReserve(),)), terms, rules).solve()
    assert verify(calibration.save(tmp_path / "cover")).proved
