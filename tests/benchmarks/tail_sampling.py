"""Variance of a CVaR by plain scenarios, over that by `JointLossModel.sample_tail` with as many.

Run: python tests/benchmarks/tail_sampling.py [scenarios] [repetitions]. Prints ratios; nothing is asserted. The pool of
tests/benchmarks/sampling.py: 100 members of which nine in ten lose nothing, a t copula; lognormal severities (near a
tail index of one half, where that of its spliced ones lies, a CVaR has no variance).
"""

from __future__ import annotations

import sys
import time

import numpy as np
from sampling import history
from scipy import stats

from calibrate.models import JointLossModel, dependence, severity
from calibrate.models.uncertainty import tail_mean


def main(n: int, repetitions: int) -> None:
    model = JointLossModel(severity=severity.LogNormal(), dependence=dependence.StudentT(4.0)).fit(history())
    ways = {
        "plain": lambda seed: model.sample(n, np.random.SeedSequence([1, seed])),
        "sample_tail": lambda seed: model.sample_tail(n, np.random.SeedSequence([2, seed])),
        "ten times plain": lambda seed: model.sample(10 * n, np.random.SeedSequence([3, seed])),
    }
    found: dict[str, list[tuple[float, float]]] = {}
    for name, draw in ways.items():
        begun = time.perf_counter()
        for seed in range(repetitions):
            pool = draw(seed)
            total, p = pool.losses.sum(axis=1), pool.probabilities
            found.setdefault(name, []).append(tuple(tail_mean(total, q, p).estimate for q in (0.99, 0.995)))
        mean, deviation = np.mean(found[name], axis=0), np.std(found[name], axis=0, ddof=1)
        took = (time.perf_counter() - begun) / repetitions
        print(f"{name:16s} CVaR 99 %, 99.5 %: {mean.round(-2)}, deviations {deviation.round(-1)}, {took:.2f} s each")
    for k, level in enumerate(("99 %", "99.5 %")):
        plain, rich = (np.var([row[k] for row in found[name]], ddof=1) for name in ("plain", "sample_tail"))
        low, high = plain / rich / stats.f(repetitions - 1, repetitions - 1).ppf([0.975, 0.025])
        print(f"variance ratio, CVaR {level}: {plain / rich:.1f} ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main(*(int(text) for text in [*sys.argv[1:], *("10000", "100")[len(sys.argv) - 1 :]]))
