"""Fit of a generalized Pareto tail to 2,000 excesses, against scipy; and the variance of an enriched tail.

Run: python tests/benchmarks/tail_fit.py. Prints microseconds and ratios; nothing is asserted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy import stats

from calibrate.models.enrichment import enriched_scenarios
from calibrate.models.severity import GeneralizedPareto
from calibrate.models.uncertainty import tail_mean
from calibrate.scenarios import Scenarios


def shortest(work: Callable[[], object], times: int) -> float:
    """Microseconds of the fastest of five series."""
    series = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(times):
            work()
        series.append((time.perf_counter() - start) / times)
    return 1e6 * min(series)


class Lognormals:
    """Twenty members with a common factor."""

    def sample(self, n: int, random_state: np.random.SeedSequence) -> Scenarios:
        rng = np.random.default_rng(random_state)
        common = rng.standard_normal((n, 1))
        return Scenarios(np.exp(1.2 * (0.6 * common + 0.8 * rng.standard_normal((n, 20)))))


def main() -> None:
    print("shape   ours us   scipy us   scipy, location fixed us   ratios   log-likelihood ours - scipy")
    for shape in (-0.3, 0.0, 0.3, 0.8, 1.5):
        law = stats.genpareto(shape, scale=2.0)
        x = law.rvs(2000, random_state=np.random.default_rng(1))
        model = GeneralizedPareto()
        ours = shortest(lambda: model.fit(x), 100)  # noqa: B023
        free = shortest(lambda: stats.genpareto.fit(x), 2)  # noqa: B023
        fixed = shortest(lambda: stats.genpareto.fit(x, floc=0), 2)  # noqa: B023
        gain = model.log_likelihood_ - stats.genpareto.logpdf(x, *stats.genpareto.fit(x, floc=0)).sum()
        print(
            f"{shape:5.1f} {ours:9.0f} {free:10.0f} {fixed:12.0f} {free / ours:20.0f}, {fixed / ours:.0f} {gain:16.1e}"
        )
    plain, rich = [], []
    for seed in range(60):
        drawn = Lognormals().sample(10_000, np.random.SeedSequence([1, seed]))
        kept = enriched_scenarios(Lognormals(), 10_000, random_state=seed)
        plain.append(tail_mean(drawn.losses.sum(axis=1), 0.99).estimate)
        rich.append(tail_mean(kept.losses.sum(axis=1), 0.99, kept.probabilities).estimate)
    ratio = np.var(plain) / np.var(rich)
    low, high = ratio / stats.f(59, 59).ppf([0.975, 0.025])
    print(f"variance of CVaR 99 %, plain over enriched scenarios: {ratio:.1f} ({low:.1f} to {high:.1f}); 10 expected")


if __name__ == "__main__":
    main()
