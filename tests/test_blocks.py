"""Scenarios that are never in memory as a whole: the same answer as from one array, the same bytes however cut."""

import os
import subprocess
import sys

import numpy as np
import pytest

from calibrate import Scenarios, fairness
from calibrate.blocks import Blocks, column_means
from calibrate.errors import DataError
from calibrate.program import CostOfCapital, CVaR, OwnContribution, PoolProblem, PoolReserve, SegmentReserve, Waterfall


def losses(n=20_000, columns=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.pareto(2.5, (n, columns)) * (rng.random((n, columns)) < 0.2) * rng.uniform(0.5, 2, columns)


def cut(matrix, rows):
    return Blocks(lambda k: matrix[k * rows : (k + 1) * rows], matrix.shape, rows)


def plan(table, **more):
    pool = Scenarios(table, **more)
    terms = [CostOfCapital(0.02, 0.04), CVaR(0.99, of="mutualised")]
    layers = (OwnContribution(), SegmentReserve(), PoolReserve()) if "segments" in more else (OwnContribution(),)
    return PoolProblem(pool, Waterfall(layers), terms, [fairness.ActuarialFairness(0.5)]).solve()


@pytest.mark.parametrize("ordered", [0, 120_000])  # losses that are put in the order of the program: none, and all
@pytest.mark.parametrize("more", [{}, {"segments": ["x", "y"]}])
def test_the_plan_is_that_of_the_array_to_the_byte_for_any_size_of_block(more, ordered, monkeypatch):
    monkeypatch.setattr("calibrate.program.plan.MOST_ORDERED", ordered)
    monkeypatch.setattr("calibrate.blocks.HELD", 30_000)  # a fourth of the losses
    table = losses()
    whole = plan(table, **more)
    for rows in (1024, 4096, 30_720):
        parts = plan(cut(table, rows), **more)
        assert parts.contributions.to_numpy().tobytes() == whole.contributions.to_numpy().tobytes()
        assert (parts.objective, parts.lower_bound) == (whole.objective, whole.lower_bound)
        assert parts.provenance["scenarios"] == whole.provenance["scenarios"]  # the digest does not see the blocks
        assert parts.members["standalone_risk"].isna().all()


def test_collateral_goes_with_its_scenarios():
    table, worth = losses(), np.random.default_rng(1).uniform(0.5, 1, (20_000, 6))
    assert plan(cut(table, 2048), collateral=worth).objective == plan(table, collateral=worth).objective


def test_a_file_that_is_mapped_is_not_copied(tmp_path):
    np.save(tmp_path / "losses.npy", losses())
    mapped = np.load(tmp_path / "losses.npy", mmap_mode="r")
    pool = Scenarios(mapped)
    assert np.shares_memory(pool.losses, mapped)
    assert plan(mapped).objective == plan(losses()).objective


def test_the_result_can_be_saved_and_verified(tmp_path):
    from calibrate import verify

    verdict = verify(plan(cut(losses(4000), 1024)).save(tmp_path / "run"))
    assert verdict.proved, verdict.sentence


def test_rows_by_slice_and_by_position():
    table = losses(5000)
    blocks = cut(table, 999)
    at = np.array([4999, 0, 17, 17, 998, 999])
    assert np.array_equal(blocks[at], table[at])
    assert np.array_equal(blocks[::7], table[::7])
    assert np.array_equal(blocks.sum(axis=1), table.sum(axis=1))
    p = np.full(5000, 1 / 5000)
    assert column_means(cut(table, 1024), p).tobytes() == column_means(table, p).tobytes()
    assert column_means(table, p) == pytest.approx(table.mean(axis=0), rel=1e-13)


def test_what_is_wrong_in_a_block_is_said_with_its_row():
    table = losses(3000)
    table[2500, 4] = np.nan
    with pytest.raises(DataError, match=r"scenario 2500, column 4: loss is nan, expected a finite number >= 0"):
        plan(cut(table, 1024))
    with pytest.raises(DataError, match=r"block 2 has shape \(952, 6\), expected \(1024, 6\)"):
        Blocks(cut(losses(3000), 1024).block, (4000, 6), 1024).sum(axis=1)
    for drawn, words in (
        ([["a"] * 6] * 1000, "could not convert string to float: 'a'"),
        (np.full((1000, 6), 1j), "they are complex"),
        (np.full((1000, 6), np.datetime64("2024-01-01")), "they are dates or spans of time"),
    ):
        with pytest.raises(DataError, match=f"block 0 must hold numbers, .*: {words}"):
            Blocks(lambda _, drawn=drawn: drawn, (2000, 6), 1000).block(0)
    with pytest.raises(DataError, match="never as one array"):
        np.asarray(cut(losses(100), 50))
    with pytest.raises(DataError, match="indexed by rows only"):
        cut(losses(100), 50)[0]


SAME = """
import hashlib, numpy as np
from calibrate import Scenarios, fairness
from calibrate.program import CostOfCapital, CVaR, PoolProblem, Waterfall
rng = np.random.default_rng(0)
losses = rng.pareto(2.5, (60_000, 40)) * (rng.random((60_000, 40)) < 0.3)
terms = [CostOfCapital(0.02, 0.04), CVaR(0.9, of="mutualised"), CVaR(0.99)]
plan = PoolProblem(Scenarios(losses), Waterfall(), terms, [fairness.ActuarialFairness(0.5)]).solve()
text = plan.contributions.to_numpy().tobytes() + repr((plan.reserves.to_list(), plan.lower_bound)).encode()
print(hashlib.sha256(text).hexdigest(), np.count_nonzero(plan.contributions))
"""


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_number_of_threads():
    """More trees than one chunk holds, more losses than one thread sweeps."""
    found = set()
    for count in ("1", "2", "8"):
        threads = dict.fromkeys(("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), count)
        done = subprocess.run(
            [sys.executable, "-c", SAME], env=os.environ | threads, capture_output=True, text=True, check=True
        )
        found.add(done.stdout)
    assert len(found) == 1, found
