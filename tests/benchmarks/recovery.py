"""Do the severity fits find the truth? Bias against theory, and coverage of the 95 % intervals, for every family and
observation scheme, in small and large samples.

Run: python tests/benchmarks/recovery.py [--simulations 500] [--sizes 100 500 5000] [--families LogNormal ...]

For each parameter: `z`, the bias less its theory in Monte Carlo errors; the bias itself and the theory in standard
deviations of the estimate; the coverage of `intervals()`, and for the tail of VaR and ES 99 %.

Theory is the bias of maximum likelihood to order 1/n (Cox and Snell 1968), computed here from scipy's log density by
finite differences over 50,000 stratified draws of the scheme:
`b_s = sum_ijk K^si K^jk (E[U_ij U_k] + E[U_ijk] / 2) / n`, `K = -E[U_ij]`. The reference fit is scipy's Nelder-Mead
on the same log-likelihood; the largest distance in standard deviations of the estimate is shown. Neither shares code
with us.

Measured, 500 simulations a cell (noise of a coverage: one per cent), all 108 cells of the families but Burr: intervals
cover 93.6 to 97.6 % of 100 losses (mean 95.2), 93.8 to 97.2 of 500 (95.5), 92.8 to 96.6 of 5,000 (95.0). The five of
270 outside 93 to 97 again with 2,000: generalized Pareto scale, deductible and limit, 5,000: 92.8 became 94.4; Weibull
scale, deductible and limit, 100: 97.2, 96.0; Weibull scale and shape -0.2, weighted, 500: 97.2 and 97.2, 95.3 and 95.3;
ES, deductible and limit, 100: 97.6, 97.1. The last is no noise: where a shape of 1 is not excluded, ES has no upper
limit and cannot be missed there (46 % of these samples); intervals with two limits hold it in 95.7 %. The bias is
within 2.5 Monte Carlo errors of theory in all but one of 198: shape -0.2 of 100 weighted losses, 3.7, again with 2,000
(a tenth of a deviation beyond theory to order 1/n). The reference fit is 2.5e-6 standard deviations away at most.
Burr, 5,000 losses, complete, deductible, limit: 94.8 to 97.6 %, the last with 1,400 simulations 95.8; open claims
93.0 to 95.2, weighted 94.2 to 94.8, deductible and limit 93.0 to 93.8, all bias within 2.9 Monte Carlo errors. 100 and
500 losses, all schemes but deductible and limit together: 94.7 to 97.8 % of 100 (mean 96.4), 93.6 to 96.2 of 500
(95.1).
The fit refuses some samples: of 500 losses 4 of 500 at most, of 100 losses 3 (complete), 4 (weighted), 26 (limit), 66
(open claims), 98 (deductible); those that are left are not a fair draw, and the bias of 7 of 30 parameters is more
than 2.5 Monte Carlo errors from theory: 2.7 (scale, complete, 100), 2.7 (scale, open claims, 500), 3.7 and 3.4 (gamma,
open claims and limit, 100), 2.9 and 3.4 (alpha and scale, deductible, 500), 6.6 (gamma, deductible, 100: .37 of a
deviation where theory has .04). Reference fit: 2.2e-6 standard deviations away at most.
Deductible and limit together leave a part of the law that a Weibull law can have as well. Of 100 losses 168 samples of
500 are refused, of 500 losses 77, of 5,000 none; all of the 77, and 166 of the 168, because a Weibull law (alpha
without bounds) is likelier than any Burr law, by another search; one has a kink without bounds, and one a maximum far
from where the search begins, which it misses. Those that are left cover 96.4 to 97.3 % and 97.4 to
97.6 %, and their bias is 14.2, 1.0 and 12.0 Monte Carlo errors from theory (alpha, gamma, scale, 100: theory to order
1/n, .9 deviations, is none there) and .7, 5.5 and 1.4 (500). With the refused ones, held by the ratio of likelihoods to
that of the Weibull law, it would be 97.6 to 98.2 % and 96.2 to 97.2 %.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from scipy import optimize, stats

from calibrate.errors import ModelError
from calibrate.models import severity
from calibrate.models.severity import Observation

Floats = npt.NDArray[np.float64]
SCHEMES = ("complete", "deductible", "limit", "deductible and limit", "open claims", "weighted")
SEED, DRAWS, COMPARED = 20240531, 50_000, 5  # the reference is the slowest part: a minute a cell for 20 of them


@dataclass(frozen=True)
class Truth:
    """A family, its true parameters by name, and the same law of scipy."""

    estimator: severity.Severity
    parameters: dict[str, float]
    law: Callable[..., Any]


TRUTHS = {
    "LogNormal": Truth(severity.LogNormal(), {"shape": 1.3, "scale": 4.0}, lambda s, m: stats.lognorm(s, scale=m)),
    "Gamma": Truth(severity.Gamma(), {"shape": 0.7, "scale": 3.0}, lambda a, s: stats.gamma(a, scale=s)),
    "Weibull": Truth(severity.Weibull(), {"shape": 0.6, "scale": 2.0}, lambda k, s: stats.weibull_min(k, scale=s)),
    "Burr": Truth(
        severity.Burr(), {"alpha": 1.5, "gamma": 1.8, "scale": 2.0}, lambda a, g, s: stats.burr12(g, a, scale=s)
    ),
    "Pareto": Truth(severity.Pareto(2.0), {"alpha": 1.5}, lambda a: stats.pareto(a, scale=2.0)),
    "GeneralizedPareto": Truth(
        severity.GeneralizedPareto(), {"shape": 0.4, "scale": 3.0}, lambda k, s: stats.genpareto(k, scale=s)
    ),
    "GeneralizedPareto, end": Truth(
        severity.GeneralizedPareto(), {"shape": -0.2, "scale": 3.0}, lambda k, s: stats.genpareto(k, scale=s)
    ),
}


@dataclass(frozen=True)
class Strata:
    """Uniforms that fill the unit interval evenly, in random order: expectations with little noise."""

    rng: np.random.Generator

    def random(self, n: int) -> Floats:
        """`n` of them."""
        return np.asarray(self.rng.permutation((np.arange(n) + self.rng.random(n)) / n))


@dataclass(frozen=True)
class Record:
    """Losses as seen: recorded amount, censored or not, deductible in force, weight."""

    losses: Floats
    censored: npt.NDArray[np.bool_]
    entry: Floats
    weights: Floats

    def fitted(self, estimator: severity.Severity) -> Any:
        """The library's fit; open claims stand for every censored loss."""
        observation = Observation(deductible=self.entry, open_claim=self.censored)
        weights = None if (self.weights == 1).all() else self.weights
        return estimator.fit(self.losses, weights, observation=observation)

    def terms(self, law: Any) -> Floats:
        """Log-likelihood of each loss by scipy."""
        seen = np.where(self.censored, law.logsf(self.losses), law.logpdf(self.losses))
        return np.asarray(seen - np.where(self.entry > 0, law.logsf(self.entry), 0.0))


def drawn(truth: Truth, scheme: str, n: int, rng: np.random.Generator | Strata) -> Record:
    """`n` losses on record. A quarter of the losses lies below the deductible, 15 % above the limit; open claims are
    stopped by a clock of the same law; weights of older losses fall to a quarter, whatever their size."""
    law = truth.law(*truth.parameters.values())
    below = 0.25 if "deductible" in scheme else 0.0
    entry = np.full(n, float(law.ppf(below)) if below else 0.0)
    x = law.isf((1 - below) * rng.random(n))
    stop = np.full(n, float(law.ppf(0.85)) if "limit" in scheme else np.inf)
    if scheme == "open claims":
        stop = law.isf(rng.random(n))
    weights = 0.25 ** rng.random(n) if scheme == "weighted" else np.ones(n)
    return Record(np.minimum(x, stop), x > stop, entry, weights)


def theory(truth: Truth, scheme: str, draws: int = DRAWS) -> Floats:
    """Bias of maximum likelihood times the effective number of losses."""
    names = list(truth.parameters)
    centre = np.array(list(truth.parameters.values()))
    record = drawn(truth, scheme, draws, Strata(np.random.default_rng([SEED, 1])))
    step = 5e-3 * np.maximum(np.abs(centre), 0.5)
    known: dict[tuple[int, ...], Floats] = {}

    def value(offset: tuple[int, ...]) -> Floats:
        if offset not in known:
            known[offset] = record.terms(truth.law(*(centre + step * np.array(offset))))
        return known[offset]

    def slope(directions: tuple[int, ...], offset: tuple[int, ...]) -> Floats:
        if not directions:
            return value(offset)
        i, rest = directions[0], directions[1:]
        up, down = (tuple(o + sign * (j == i) for j, o in enumerate(offset)) for sign in (1, -1))
        return (slope(rest, up) - slope(rest, down)) / (2 * step[i])

    p, zero = len(names), (0,) * len(names)

    def mean(values: Floats) -> float:
        return float(values[np.isfinite(values)].mean())

    first = [slope((i,), zero) for i in range(p)]
    second = [[slope(tuple(sorted((i, j))), zero) for j in range(p)] for i in range(p)]
    covariance = np.linalg.inv([[-mean(second[i][j]) for j in range(p)] for i in range(p)])
    burden = np.zeros(p)
    for i, j, k in itertools.product(range(p), repeat=3):
        third = mean(slope(tuple(sorted((i, j, k))), zero))
        burden[i] += covariance[j, k] * (mean(second[i][j] * first[k]) + 0.5 * third)
    return covariance @ burden


def worth(scheme: str) -> float:
    """Effective number of losses for each loss: `E[w]^2 / E[w^2]` of weights `0.25^u`, `u` uniform."""
    log = -np.log(0.25)
    return ((1 - 0.25) / log) ** 2 / ((1 - 0.25**2) / (2 * log)) if scheme == "weighted" else 1.0


def reference(truth: Truth, record: Record) -> Floats:
    """Maximum of scipy's log-likelihood by Nelder-Mead, from the truth."""

    def depth(x: Floats) -> float:
        with np.errstate(all="ignore"):
            total = -float(record.weights @ record.terms(truth.law(*x)))
        return total if np.isfinite(total) else 1e300

    start = np.array(list(truth.parameters.values()))
    options = {"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000, "maxfev": 8000}
    return np.asarray(optimize.minimize(depth, start, method="Nelder-Mead", options=options).x)


def quantities(truth: Truth, model: Any) -> Iterator[tuple[str, float, float, float]]:
    """Name, truth, lower and upper limit of everything that has an interval."""
    limits = model.intervals()
    for name, value in truth.parameters.items():
        yield name, value, limits.loc[name, "lower"], limits.loc[name, "upper"]
    if isinstance(model, severity.GeneralizedPareto):
        shape, scale = truth.parameters.values()
        var = scale * (0.01**-shape - 1) / shape
        yield "VaR", var, *model.var_interval(0.99)[1:3]
        if model.has_mean_:
            yield "ES", (var + scale) / (1 - shape), *model.expected_shortfall_interval(0.99)[1:3]


def one(name: str, scheme: str, n: int, k: int) -> tuple[Floats, dict[str, bool], float] | None:
    """Estimates, what was covered, and for the first samples the distance from the reference; None if refused."""
    truth = TRUTHS[name]
    record = drawn(truth, scheme, n, np.random.default_rng([SEED, n, SCHEMES.index(scheme), k]))
    try:
        model = record.fitted(truth.estimator)
    except ModelError:
        return None
    estimate = np.array([getattr(model, f"{parameter}_") for parameter in truth.parameters])
    hit = {what: bool(lower <= value <= upper) for what, value, lower, upper in quantities(truth, model)}
    gap = float("nan")
    if k < COMPARED:
        errors = np.array([model.standard_errors_[parameter] for parameter in truth.parameters])
        gap = float(np.max(np.abs(reference(truth, record) - estimate) / errors))
    return estimate, hit, gap


def cell(name: str, scheme: str, n: int, simulations: int, workers: Parallel) -> list[str]:
    """Lines of the table."""
    found = [item for item in workers(delayed(one)(name, scheme, n, k) for k in range(simulations)) if item is not None]
    truth = TRUTHS[name]
    estimates = np.array([item[0] for item in found])
    expected = theory(truth, scheme) / (n * worth(scheme))
    gap = np.nanmax([item[2] for item in found])
    lines = []
    for what in dict.fromkeys(itertools.chain.from_iterable(item[1] for item in found)):
        hits = np.array([item[1][what] for item in found if what in item[1]])
        text = f"{name:24}{scheme:22}{n:6}{len(found):6} {what:7}{100 * hits.mean():7.1f} %"
        if what in truth.parameters:
            place = list(truth.parameters).index(what)
            values = estimates[:, place]
            spread = float(values.std(ddof=1))
            bias = float(values.mean()) - truth.parameters[what]
            z = (bias - expected[place]) / (spread / np.sqrt(values.size))
            text += f"{bias / spread:9.3f}{expected[place] / spread:9.3f}{z:8.2f}{gap:12.1e}"
        lines.append(text)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 500, 5000])
    parser.add_argument("--families", nargs="+", default=list(TRUTHS))
    parser.add_argument("--schemes", nargs="+", default=list(SCHEMES))
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    print(
        "family                  scheme                     n  fits of         covers  bias/sd theory/sd  z   reference"
    )
    with Parallel(n_jobs=given.jobs, batch_size=25) as workers:
        for name, scheme, n in itertools.product(given.families, given.schemes, given.sizes):
            print("\n".join(cell(name, scheme, n, given.simulations, workers)), flush=True)


if __name__ == "__main__":
    main()
