"""Is the year after inside the interval as often as it says, whatever the pool's level does? Pools of known truth.

Run: python tests/benchmarks/wandering_levels.py [--pools 500]

Every pool has eight members of sizes that differ tenfold, with levels of their own (deviation .15), scatter of their
own (.15 to .35) and 5, 9 or 20 years. Their common level (of the log loss ratio) is drawn anew every year (`forgets`,
deviation .2), is an autoregression of .8 a year with the same deviation (`reverts`), or a random walk of .1 a year
with yearly noise of .1 (`wanders`). `inside`: share of pools whose loss of the year after lies in the 90 % interval of
`JointLossModel`; `above`: share beyond its upper end; `members`: share of the members' losses inside theirs;
`width`: median width (log) over that of the textbook's interval `mean +- t s sqrt(1 + 1/n)` of the pool's log ratio,
which is the right one where the level forgets; `error` and `bias`: root mean square and mean of the log of the expected
loss over the true one, given where the level stands. The same with `KnownLevel`.

Measured with 500 pools (standard error of `inside` .013), each but the width with `KnownLevel` in brackets:

    years  level    inside       above        members  width  error        bias
    5      forgets  .906 (.786)  .064 (.132)  .908     1.15   .128 (.100)  -.013 (-.014)
    5      reverts  .890 (.704)  .070 (.152)  .894     1.12   .087 (.122)  -.006 (-.005)
    5      wanders  .914 (.730)  .046 (.138)  .907     1.12   .107 (.134)  -.007 (-.004)
    9      forgets  .928 (.808)  .042 (.092)  .903     1.13   .120 (.076)  -.006 (-.005)
    9      reverts  .928 (.770)  .032 (.102)  .892     1.09   .086 (.137)  -.002 (-.006)
    9      wanders  .926 (.756)  .046 (.136)  .901     1.11   .103 (.164)   .002 (-.010)
    20     forgets  .912 (.878)  .046 (.064)  .906     1.09   .086 (.054)   .003 (-.001)
    20     reverts  .916 (.830)  .038 (.094)  .910     1.03   .090 (.150)   .008 (-.003)
    20     wanders  .944 (.794)  .038 (.114)  .922     1.02   .111 (.243)   .010 (.002)

`inside`, `above`, `members` and `width` are from before members' scatter was told apart from where the level has
wandered (`models.panel`); `error` and `bias` cannot have changed by that. `tests/references/test_members.py` has what
members are inside since then.

All this with `LogNormalRatio`. With `GeneralizedGammaRatio`, when it knew lighter laws only, 300 pools of 5 years were
inside .907, .903 and .927 of the time, above .070, .063 and .040; longer ones were not run.

What it costs: where the level forgets, the expected loss of the pool (not its split among members) follows noise.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t as student_t

from calibrate import JointLossModel, LossHistory
from calibrate.models.pool_level import KnownLevel, LocalLevel

Floats = npt.NDArray[np.float64]
SCENARIOS, MEMBERS = 4_000, 8


def level(kind: str, years: int, rng: np.random.Generator) -> tuple[Floats, float]:
    """The pool's log level, year by year, and what is to be expected of the last one given those before."""
    shocks = rng.standard_normal(years)
    if kind == "forgets":
        return 0.2 * shocks, 0.5 * 0.2**2
    if kind == "wanders":
        walk = 0.1 * np.cumsum(shocks)
        return walk + 0.1 * rng.standard_normal(years), float(walk[-2]) + 0.5 * (0.1**2 + 0.1**2)
    found = [shocks[0]]
    for shock in shocks[1:]:
        found.append(0.8 * found[-1] + 0.6 * shock)
    return 0.2 * np.array(found), 0.2 * 0.8 * found[-2] + 0.5 * (0.2 * 0.6) ** 2


def pool(kind: str, years: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.Series[float], float]:
    """Losses of the years and of the one after, exposures, and the log of the true expected loss of the year after."""
    names = [f"member {i}" for i in range(MEMBERS)]
    exposures = pd.Series(10.0 ** rng.uniform(0, 1, MEMBERS), names)
    own, scatter = 0.15 * rng.standard_normal(MEMBERS), rng.uniform(0.15, 0.35, MEMBERS)
    path, ahead = level(kind, years + 1, rng)
    logs = path[:, None] + own + scatter * rng.standard_normal((years + 1, MEMBERS))
    true = ahead + float(np.log(exposures.to_numpy() @ np.exp(own + scatter**2 / 2)))
    return pd.DataFrame(exposures.to_numpy() * np.exp(logs), range(2000, 2001 + years), names), exposures, true


def judged(kind: str, years: int, seed: int) -> dict[str, float]:
    """One pool: what came, against what was said."""
    losses, exposures, true = pool(kind, years, np.random.default_rng([777, seed, years]))
    history = LossHistory.from_panel(losses.iloc[:-1], exposures=exposures)
    came = losses.iloc[-1].to_numpy()
    row = {}
    for name, known in (("", LocalLevel()), ("known ", KnownLevel())):
        model = JointLossModel(pool_level=known, n_jobs=1).fit(history)
        drawn = model.sample(SCENARIOS, seed).losses
        low, high = np.quantile(drawn.sum(axis=1), [0.05, 0.95])
        wrong = float(np.log(model.summary_["expected_loss"].sum())) - true
        row |= {f"{name}inside": float(low <= came.sum() <= high), f"{name}above": float(came.sum() > high)}
        row |= {f"{name}bias": wrong, f"{name}error": wrong**2}
        if not name:
            below, above = np.quantile(drawn, [0.05, 0.95], axis=0)
            logs = np.log(losses.iloc[:-1].sum(axis=1))
            width = 2 * student_t.ppf(0.95, years - 1) * logs.std() * np.sqrt(1 + 1 / years)
            row |= {"width": float(np.log(high / low) / width)}
            row |= {"members": float(((below <= came) & (came <= above)).mean())}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=500)
    pools = parser.parse_args().pools
    for years in (5, 9, 20):
        for kind in ("forgets", "reverts", "wanders"):
            table = pd.DataFrame([judged(kind, years, seed) for seed in range(pools)])
            found = table.mean()
            found["width"] = table["width"].median()
            errors = [name for name in table if name.endswith("error")]
            found[errors] = np.sqrt(found[errors])
            print(f"{years} years, {kind:8}", *(f"{name} {value:.3f}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
