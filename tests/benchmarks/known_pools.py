"""200 pools whose loss process is known: is the true CVaR of the published plan inside the published interval?

Run: python tests/benchmarks/known_pools.py [--pools 200] [--scenarios 10000000]

Every pool is drawn: 3 to 8 members, sizes that differ tenfold, gamma, lognormal or Pareto losses (tail exponent 2.5 to
4) that happen in 5 to 100 % of the periods, a common factor or none, level 90, 95 or 99 %, a waterfall with or without
own contributions. `PoolProblem` chooses the plan on 4,000 scenarios and publishes its CVaR on fresh ones, 1,000 to
4,000 of them in the tail. The truth shares no code with the library: closed form where the pool is a mutual of gamma
losses of one scale (their sum is gamma), else the waterfall in three lines of numpy over 10,000,000 scenarios (or 50
times the fresh ones, if fewer).

Measured: 200 of 200 pools have an interval, 194 of them (97 %) hold the truth: 97 % of the gamma, 96 % of the lognormal
and 97 % of the Pareto pools; 97 % at each level. The truth is 0.68 to 1.74 times the in-sample CVaR (5 to 95 %).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.special import ndtr, ndtri

from calibrate import Scenarios, fairness
from calibrate.calibration import Calibration
from calibrate.errors import SolverError
from calibrate.program import CostOfCapital, CVaR, PoolProblem, PoolReserve, Waterfall

Floats = npt.NDArray[np.float64]
SEED, IN_SAMPLE, BLOCK = 777, 4000, 500_000
FAMILIES = ("gamma", "lognormal", "pareto")


@dataclass(frozen=True)
class Process:
    """A known law of the members' losses."""

    family: str
    sizes: Floats
    shape: float
    frequency: float
    correlation: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, families: tuple[str, ...]) -> Process:
        """Any of them."""
        family = str(rng.choice(families))
        shape = {"gamma": rng.uniform(0.5, 3), "lognormal": rng.uniform(0.5, 1.3), "pareto": rng.uniform(2.5, 4)}
        sizes = 10.0 ** rng.uniform(0, 1, int(rng.integers(3, 9)))
        return cls(family, sizes, float(shape[family]), float(rng.uniform(0.05, 1)), float(rng.choice([0.0, 0.4])))

    def losses(self, n: int, rng: np.random.Generator) -> Floats:
        """`n` periods x members."""
        own, common = rng.standard_normal((n, self.sizes.size)), rng.standard_normal((n, 1))
        beyond = ndtr(-np.sqrt(self.correlation) * common - np.sqrt(1 - self.correlation) * own) / self.frequency
        beyond = np.minimum(beyond, 1.0)  # one where nothing is lost
        if self.family == "gamma":
            return np.asarray(self.sizes * stats.gamma(self.shape).isf(beyond))
        lost = np.exp(-self.shape * ndtri(beyond)) if self.family == "lognormal" else beyond ** (-1 / self.shape) - 1
        return np.asarray(self.sizes * lost)


def left(losses: Floats, plan: Calibration, defaulter_pays: bool) -> Floats:
    """What own contributions and the reserve leave, or all contributions together."""
    beyond = losses - plan.contributions.to_numpy()
    beyond = np.maximum(beyond, 0) if defaulter_pays else beyond
    return np.maximum(beyond.sum(axis=1) - plan.reserves.sum(), 0)


def simulated_truth(
    process: Process, plan: Calibration, level: float, kind: bool, n: int, rng: np.random.Generator
) -> float:
    """CVaR over `n` scenarios, in blocks: only what may belong to the tail is kept."""
    tail = round(n * (1 - level))
    kept: Floats = np.zeros(0)
    for _ in range(n // BLOCK):
        kept = np.concatenate([kept, left(process.losses(BLOCK, rng), plan, kind)])
        kept = kept if kept.size <= tail else np.partition(kept, kept.size - tail)[-tail:]
    return float(kept.mean())


def gamma_truth(shape: float, scale: float, fund: float, level: float) -> float:
    """CVaR of `(S - F)+`, `S` gamma: `E[(S - q)+]/(1 - level) + (q - F)+` with `q = max(VaR, F)`."""
    q = max(float(stats.gamma(shape, scale=scale).ppf(level)), fund)
    excess = shape * scale * stats.gamma(shape + 1, scale=scale).sf(q) - q * stats.gamma(shape, scale=scale).sf(q)
    return float(excess) / (1 - level) + q - fund


def pool(k: int, scenarios: int, families: tuple[str, ...] = FAMILIES) -> dict[str, object]:
    """One pool: what was published, and the truth."""
    rng = np.random.default_rng([SEED, k])
    process = Process.drawn(rng, families)
    level, in_tail = float(rng.choice([0.9, 0.95, 0.99])), int(rng.choice([1000, 2000, 4000]))
    mutual = process.family == "gamma"
    if mutual:
        process = Process("gamma", np.full(process.sizes.size, float(process.sizes[0])), process.shape, 1.0, 0.0)
    waterfall = Waterfall((PoolReserve(),)) if mutual or rng.random() < 0.3 else Waterfall()
    defaulter = len(waterfall.layers) == 2
    names = [f"member {i}" for i in range(process.sizes.size)]
    optimised = Scenarios(process.losses(IN_SAMPLE, rng), names)
    fresh = Scenarios(process.losses(round(in_tail / (1 - level)), rng), names)
    rate = float(rng.uniform(0.1, 0.6))
    terms = CostOfCapital(rate, 1.2 * rate) + CVaR(level, of="mutualised" if defaulter else "shortfall")
    plan = PoolProblem(optimised, waterfall, terms, [fairness.ActuarialFairness(0.3)]).solve(out_of_sample=fresh)
    row = plan.risk.iloc[[str(name).startswith("CVaR") for name in plan.risk.index]]
    row = row.loc[f"CVaR {100 * level:g}% of {'mutualised' if defaulter else 'shortfall'}"]
    if mutual:
        truth = gamma_truth(process.shape * process.sizes.size, process.sizes[0], plan.total, level)
    else:
        enough = min(scenarios, max(50 * len(fresh), 2 * BLOCK))
        truth = simulated_truth(process, plan, level, defaulter, enough, np.random.default_rng([SEED, k, 1]))
    note = [text for text in plan.provenance["risk_notes"] if text.startswith(f"CVaR {100 * level:g}%")]
    numbers = row[["in_sample", "out_of_sample", "lower", "upper"]].astype(float).to_dict()
    return {"pool": k, "family": process.family, "level": level, **numbers, "truth": truth, "label": " ".join(note)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=200)
    parser.add_argument("--scenarios", type=int, default=10_000_000)
    given = parser.parse_args()
    rows = []
    for k in range(given.pools):
        try:
            rows.append(pool(k, given.scenarios))
        except SolverError as error:
            print(f"pool {k} refused: {error}", flush=True)
    table = pd.DataFrame(rows)
    answered = table[table["upper"].notna()]
    inside = answered["lower"].le(answered["truth"]) & answered["truth"].le(answered["upper"])
    print(f"{len(table)} pools, {len(answered)} with an interval, {int(inside.sum())} hold the truth:", inside.mean())
    print(inside.groupby(answered["family"]).agg(["size", "mean"]))
    print(inside.groupby(answered["level"]).agg(["size", "mean"]))
    print(
        "labelled:",
        int((answered["label"] != "").sum()),
        "of them hold the truth:",
        inside[answered["label"] != ""].mean(),
    )
    print("truth over in-sample, median:", (table["truth"] / table["in_sample"]).median())


if __name__ == "__main__":
    main()
