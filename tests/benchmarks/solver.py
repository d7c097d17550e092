"""The tail solver against the extensive program, and against one pass over the scenarios.

Run: python tests/benchmarks/solver.py [largest number of losses, default 1e8]. Prints seconds and ratios of one run;
nothing is asserted. Defaulter pays, actuarial band 0.5, level 0.99, one in ten entries positive, Pareto tails of
exponent 2.5; contributions cost 0.02, reserves 0.05, the tail 1. Kernels are compiled beforehand; medians of three.
`ours` is the solver with its two bounds, `solve()` what a user waits for: the same, measured again and written down.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import cvxpy as cp
import numpy as np

from calibrate import Scenarios, fairness
from calibrate.program import CostOfCapital, CVaR, OwnContribution, PoolProblem, PoolReserve, Waterfall
from calibrate.program.extensive import Extensive
from calibrate.program.passes import left
from calibrate.program.working_set import solve_by_tail

EXTENSIVE_UP_TO = 3_000_000  # losses
SIZES = ((20, 10**4), (100, 10**4), (100, 3 * 10**4), (20, 10**5), (100, 10**5), (100, 10**6))
LAYERS = {"own contributions": (OwnContribution(),), "and a pool reserve": (OwnContribution(), PoolReserve())}


def problem(members: int, scenarios: int, layers: tuple[object, ...]) -> PoolProblem:
    rng = np.random.default_rng(0)
    losses = rng.pareto(2.5, (scenarios, members)) * rng.uniform(0.5, 2, members)
    losses *= rng.random((scenarios, members)) < 0.1
    terms = [CostOfCapital(0.02, 0.05), 1.0 * CVaR(0.99, of="mutualised")]
    return PoolProblem(Scenarios(losses), Waterfall(layers), terms, [fairness.ActuarialFairness(0.5)])


def seconds(work: Callable[[], object], times: int) -> tuple[float, object]:
    """Median time, and the last result."""
    taken, result = [], None
    for _ in range(times):
        start = time.perf_counter()
        result = work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken), result


def extensive(stated: PoolProblem, solver: str, options: dict[str, object]) -> tuple[float, float]:
    parts = Extensive.of(stated.program)
    whole = cp.Problem(cp.Minimize(parts.objective), [*parts.constraints, *(gap <= 0 for gap in parts.gaps)])
    start = time.perf_counter()
    whole.solve(solver=solver, **options)
    taken = time.perf_counter() - start
    return (taken, whole.value * stated.program.unit) if whole.status == cp.OPTIMAL else (float("nan"), float("nan"))


def main(most: float) -> None:
    names = ("calibrate", "numpy", "numba", "cvxpy", "clarabel", "highspy")
    print(f"python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names))
    solve_by_tail(problem(5, 1000, LAYERS["and a pool reserve"]).program, 1e-6)
    for title, layers in LAYERS.items():
        print(f"\n{title}")
        print(
            " members x scenarios   ours s  solve() s   pass s  ours/pass  Clarabel/ours  HiGHS/ours  optima differ by"
        )
        for members, scenarios in SIZES:
            if members * scenarios > most:
                continue
            stated = problem(members, scenarios, layers)
            ours, solution = seconds(lambda: solve_by_tail(stated.program, 1e-6), 3)  # noqa: B023
            whole, _ = seconds(lambda: stated.solve(), 3)  # noqa: B023
            losses, own = stated.program.pool.scenarios.losses, np.ones(members)
            sweep, _ = seconds(lambda: left("mutualised", losses, None, own, np.zeros(1), 0.0), 7)  # noqa: B023
            ratios, differ = [float("nan")] * 2, float("nan")
            if members * scenarios <= EXTENSIVE_UP_TO:
                runs = [
                    extensive(stated, cp.CLARABEL, {}),
                    extensive(stated, cp.HIGHS, {"highs_options": {"solver": "simplex"}, "time_limit": 600.0}),
                ]
                ratios = [taken / ours for taken, _ in runs]
                differ = max(abs(value / solution.lower_bound - 1) for _, value in runs if value == value)
            sizes = f"{members:8d} x {scenarios:9d} {ours:8.3f} {whole:10.3f} {sweep:8.4f} {ours / sweep:10.1f}"
            print(f"{sizes} {ratios[0]:14.1f} {ratios[1]:11.1f} {differ:21.1e}", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1e8)
