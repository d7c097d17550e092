"""Joint losses of 100 members of which nine in ten lose nothing: against the naive chain of scipy over all entries.

Run: python tests/benchmarks/sampling.py [scenarios] [threads]. Prints seconds; nothing is asserted.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd
from scipy import stats

from calibrate.history import LossHistory
from calibrate.models import JointLossModel, dependence, severity

MEMBERS, MONTHS, ZERO = 100, 240, 0.9


def history() -> LossHistory:
    rng = np.random.default_rng(0)
    counts = rng.poisson(-np.log(ZERO), (MONTHS, MEMBERS))
    t, i = np.nonzero(counts)
    row = np.repeat(np.arange(t.size), counts[t, i])
    when = pd.period_range("2000-01", periods=MONTHS, freq="M")[t[row]].to_timestamp()
    frame = pd.DataFrame({"date": when, "member": [f"M{k}" for k in i[row]], "id": range(row.size)})
    frame["loss"] = 1e4 * np.exp(rng.normal(0, 1.5, row.size))
    return LossHistory.from_events(frame, date="date", member="member", loss="loss")


def naive(model: JointLossModel, n: int) -> np.ndarray:
    """t scores, t.cdf, and the quantile of a single event's law, for every entry."""
    rng = np.random.default_rng(1)
    copula, part = model.dependence_, model.margins_.segments[0]
    v = copula.degrees_of_freedom_
    normal = rng.standard_normal((n, MEMBERS)) @ np.linalg.cholesky(copula.correlation_).T
    uniform = stats.t.cdf(normal * np.sqrt(v / rng.chisquare(v, (n, 1))), v)
    none = model.summary_["zero_probability"].to_numpy()
    inner = np.clip((uniform - none) / (1 - none), 0, 1)
    tail, body = part.sizes.law.tail_, part.sizes.law.body_
    p = part.sizes.law.exceedance_probability_
    low = stats.lognorm.ppf(
        inner / (1 - p) * stats.lognorm.cdf(part.sizes.law.threshold_, body.shape_, scale=body.scale_),
        body.shape_,
        scale=body.scale_,
    )
    high = part.sizes.law.threshold_ + stats.genpareto.ppf(
        np.clip((inner - 1 + p) / p, 0, 1), tail.shape_, scale=tail.scale_
    )
    return np.where(uniform <= none, 0.0, np.where(inner > 1 - p, high, low))


def seconds(run) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def main(n: int, threads: int) -> None:
    model = JointLossModel(severity=severity.Spliced(), dependence=dependence.StudentT(4.0), n_jobs=threads).fit(
        history()
    )
    model.sample(1000, 1)
    ours = min(seconds(lambda: model.sample(n, 1)) for _ in range(3))
    part = max(n // 10, 1000)
    theirs = seconds(lambda: naive(model, part)) * n / part
    print(
        f"{n:,} x {MEMBERS}, {threads} threads: {ours:.2f} s; the naive chain {theirs:.1f} s; {theirs / ours:.1f} times"
    )


if __name__ == "__main__":
    main(*(int(text) for text in [*sys.argv[1:], *("200000", "2")[len(sys.argv) - 1 :]]))
