"""Linear losses against two peers: cvqp 0.3 (a CVaR limit) and skfolio (the least CVaR of a portfolio).

Run: python tests/benchmarks/peers.py [cvqp|skfolio] after `pip install cvqp==0.3.0 skfolio`; a peer that is not
installed is left out. Contributions are posted in assets that lose value, `T = (K - sum a[s, i] c[i])+`, so nothing but
the tail has a kink: without a layer in which the defaulter pays, the program is the peers' own.

cvqp: the cheapest contributions with `CVaR 95 % <= kappa`, binding. skfolio: the split of a fixed sum with the least
CVaR 95 %. Seconds are medians of three for ours, of one for the peer; objectives and violations are measured by a sort
here, not taken from a solver.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

from calibrate import Scenarios
from calibrate.fairness import Budget, FundFloor
from calibrate.program import CostOfCapital, CVaR, Layer, OwnContribution, PoolProblem, PoolReserve, Waterfall
from calibrate.program.working_set import solve_by_tail

SIZES = ((100, 10**4), (100, 10**5), (500, 10**5))
LEVEL, NEED = 0.95, 2.0  # NEED: what the pool owes in every scenario, money
LIMIT = 300.0  # seconds a peer may take


def worth(members: int, scenarios: int) -> np.ndarray:
    """Values of one unit posted: one factor, own noise, heavy tails."""
    rng = np.random.default_rng(0)
    common = rng.standard_t(4, (scenarios, 1)) * rng.uniform(0.5, 1.5, members)
    falls = 0.08 + 0.04 * common + 0.05 * rng.standard_t(4, (scenarios, members))
    return np.clip(1.0 - falls, 0.0, 1.0)


def tail(values: np.ndarray) -> float:
    """CVaR by a sort; `scenarios * (1 - LEVEL)` is whole in every case here."""
    count = round(len(values) * (1 - LEVEL))
    return float(np.sort(values)[-count:].mean())


def ours(a: np.ndarray, layer: Layer, terms: list[object], rules: list[object]) -> tuple[float, np.ndarray]:
    """Median seconds and contributions of a plan that is certified to 1e-6."""
    members = a.shape[1]
    pool = Scenarios(np.full(a.shape, NEED / members), collateral=a)
    problem = PoolProblem(pool, Waterfall((layer,)), terms, rules)
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        solution = solve_by_tail(problem.program, 1e-6)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken), solution.x[:members] * problem.program.unit


def against_cvqp() -> None:
    import cvqp

    print("members x scenarios   ours s   cvqp s: default, tight   cost: ours, default, tight   limit exceeded by")
    for members, scenarios in SIZES:
        a = worth(members, scenarios)
        kappa = 0.25
        costs = [CostOfCapital(1.0, 100.0)]
        seconds, c = ours(a, PoolReserve(), costs, [CVaR(LEVEL) <= kappa])
        A = np.column_stack([-a, np.full(scenarios, NEED)])
        bounds = np.eye(members + 1)
        low, high = np.append(np.zeros(members), 1.0), np.append(np.full(members, 10.0), 1.0)
        rows = [(seconds, c)]
        price = np.append(np.ones(members), 0.0)
        for exact in ({}, {"abstol": 1e-7, "reltol": 1e-7}):
            start = time.perf_counter()
            settings = cvqp.Settings(time_limit=LIMIT, **exact)
            found = cvqp.solve(None, price, A, bounds, low, high, LEVEL, kappa, settings=settings)
            rows.append((time.perf_counter() - start, np.clip(found.x[:members], 0, None)))
        costs_of = ", ".join(f"{x.sum():.7f}" for _, x in rows)
        misses = ", ".join(f"{tail(NEED - a @ x) - kappa:.1e}" for _, x in rows)
        times = ", ".join(f"{taken:.2f}" for taken, _ in rows[1:])
        print(f"{members:8d} x {scenarios:8d} {seconds:8.3f}   {times}   {costs_of}   {misses}", flush=True)


def against_skfolio() -> None:
    import cvxpy as cp
    import pandas as pd
    from skfolio import RiskMeasure
    from skfolio.optimization import MeanRisk

    print("members x scenarios   ours s   Clarabel s   HiGHS s   CVaR: ours, Clarabel, HiGHS")
    for members, scenarios in ((100, 10**4), (100, 5 * 10**4)):
        a = worth(members, scenarios)
        seconds, c = ours(a, OwnContribution(), [CVaR(LEVEL)], [Budget(1.0), FundFloor(1.0)])
        rows = [(seconds, c / c.sum())]
        for solver in (cp.CLARABEL, cp.HIGHS):
            model = MeanRisk(risk_measure=RiskMeasure.CVAR, cvar_beta=LEVEL, solver=str(solver))
            start = time.perf_counter()
            model.fit(pd.DataFrame(a - 1.0))
            rows.append((time.perf_counter() - start, np.asarray(model.weights_)))
        values = ", ".join(f"{tail(1.0 - a @ w):.8f}" for _, w in rows)
        print(
            f"{members:8d} x {scenarios:8d} {seconds:8.3f} {rows[1][0]:12.2f} {rows[2][0]:9.2f}   {values}", flush=True
        )


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["cvqp", "skfolio"]
    for name, run in (("cvqp", against_cvqp), ("skfolio", against_skfolio)):
        if name in chosen:
            try:
                run()
            except ModuleNotFoundError as missing:
                print(f"{name}: not installed ({missing.name})")
