"""The tail solver over a grid of programs: is every one certified, how long does it take, in passes over the scenarios?

Run: python tests/benchmarks/grid.py [seconds to spend, default 600] [seed]. Programs are drawn from the grid at random
until the time is up; every answer is certified to 1e-6 or counted as refused. One line a size, then the worst ones.

The grid: members, scenarios, level, band, price of contributions over price of reserves, tail exponent, share of
positive entries, and what else makes it hard: losses of two values, on a grid, capped by a limit, unequal
probabilities, members that never lose, a pool reserve in the waterfall.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from functools import lru_cache

import numpy as np

from calibrate import Scenarios, fairness
from calibrate.errors import CalibrateError
from calibrate.program import CostOfCapital, CVaR, OwnContribution, PoolProblem, PoolReserve, Waterfall
from calibrate.program.passes import left
from calibrate.program.working_set import solve_by_tail

SIZES = [(m, n) for n in (10**4, 10**5, 10**6) for m in (5, 20, 100, 300) if m * n <= 10**8]
KINDS = ("smooth", "two points", "rounded", "capped", "unequal", "idle members")
LAYERS = {"own": (OwnContribution(),), "own + reserve": (OwnContribution(), PoolReserve())}


@lru_cache(maxsize=1)
def scenarios(members: int, count: int, exponent: float, positive: float, kind: str) -> Scenarios:
    rng = np.random.default_rng([members, count, int(10 * exponent), int(100 * positive)])
    losses = rng.pareto(exponent, (count, members))
    losses *= rng.random((count, members)) < positive
    losses *= rng.uniform(0.5, 2, members)
    if kind == "two points":
        losses = (losses > 0) * rng.uniform(0.5, 2, members)
    elif kind == "rounded":
        losses = np.ceil(losses)
    elif kind == "capped":
        losses = np.minimum(losses, 3.0)
    elif kind == "idle members":
        losses[:, ::3] = 0.0
    p = rng.uniform(0.1, 1.9, count) if kind == "unequal" else np.ones(count)
    losses.setflags(write=False)
    return Scenarios(losses, probabilities=p / p.sum())


def one(members: int, count: int, draw: np.random.Generator, same: list[object]) -> tuple[float, float, int, str]:
    """Seconds, passes' worth of time, full passes, and what it was; NaN seconds where it was refused."""
    if not same:
        same += [float(draw.choice([1.3, 2.5])), float(draw.choice([0.1, 0.01])), str(draw.choice(KINDS))]
    level, band = float(draw.choice([0.95, 0.99, 0.995])), float(draw.choice([0.1, 0.5, 2.0]))
    ratio, layers = float(draw.choice([0.4, 0.05])), str(draw.choice(list(LAYERS)))
    pool = scenarios(members, count, *same)  # type: ignore[arg-type]
    terms = [CostOfCapital(0.05 * ratio, 0.05), 1.0 * CVaR(level, of="mutualised")]
    stated = PoolProblem(pool, Waterfall(LAYERS[layers]), terms, [fairness.ActuarialFairness(band)])
    what = f"{members} x {count}, {same}, level {level}, band {band}, ratio {ratio}, {layers}"
    stated.program.pool.column_means  # noqa: B018 (a pass that belongs to the pool, not to the solve)
    start = time.perf_counter()
    try:
        solution = solve_by_tail(stated.program, 1e-6)
    except CalibrateError as error:
        return float("nan"), float("nan"), 0, f"{what}: {str(error)[:200]}"
    seconds = time.perf_counter() - start
    passes = int(str(solution.attempts[-1]).rsplit(" ", 1)[1])
    own, sweeps = np.ones(members), []
    for _ in range(3):
        start = time.perf_counter()
        left("mutualised", pool.losses, None, own, np.zeros(1), 0.0)
        sweeps.append(time.perf_counter() - start)
    return seconds, seconds / min(sweeps), passes, what


def main(budget: float, seed: int) -> None:
    draw, results, until = np.random.default_rng(seed), defaultdict(list), time.perf_counter() + budget
    solve_by_tail(PoolProblem(scenarios(5, 10**4, 2.5, 0.1, "smooth"), Waterfall(), CVaR(0.9)).program, 1e-6)
    while time.perf_counter() < until:
        members, count = SIZES[int(draw.integers(len(SIZES)))]
        same: list[object] = []
        for _ in range(3):
            results[members, count].append(one(members, count, draw, same))
            if not results[members, count][-1][0] < 5.0:
                print("slow or refused:", *results[members, count][-1], flush=True)
    print("   members x scenarios  programs  refused  median s  worst s  in passes: median, worst  full passes: most")
    for (members, count), rows in sorted(results.items()):
        solved = [row for row in rows if row[0] == row[0]]
        seconds, ratio = [row[0] for row in solved], [row[1] for row in solved]
        print(
            f"{members:10d} x {count:9d} {len(rows):9d} {len(rows) - len(solved):8d} {statistics.median(seconds):9.3f} "
            f"{max(seconds):8.3f} {statistics.median(ratio):18.0f} {max(ratio):6.0f} {max(r[2] for r in solved):18d}"
        )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
