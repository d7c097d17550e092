"""Does the year after lie where the simulation says? Six lines of the CAS loss reserve database, year by year.

Run: python tests/benchmarks/held_out.py (needs chainladder). Insurers with premium in all ten years; the model is
fitted to the years before and asked about the pool's incurred losses at the premiums of the year itself. Shown: the
share of scenarios below what came, and `F` where the model said that the pool's years remember each other; how many
of 30 lie outside the 90 % interval, its mean width (of the log), and the mean continuous ranked probability score of
the log of the pool's loss (smaller is better: it punishes intervals that are too wide as well as those that miss).

Measured with `LocalLevel`, the default: 1 of 30 lies outside (medical malpractice .827 .702 .604 .569 .497, other
liability .883 .865 .108 .577 .292, products .909 .858 .640 .517 .701, private passenger .430 .414 .116 .131 .346,
commercial auto .833 .856 .585 .148 .394, workers' compensation .013 .233 .507 .652 .776), width .401, score .052.
With `KnownLevel`, the level of the whole history taken as known: 10 of 30 (medical malpractice .984 .960 .929 .886
.819, other liability .968 .974 .564 .683 .356, products .900 .911 .807 .706 .791, private passenger .067 .083 .016
.007 .019, commercial auto .664 .880 .717 .173 .268, workers' compensation .002 .006 .025 .097 .311), width .346, score
.100. Years of a line are not independent, and six lines are few: pools of known truth are in `wandering_levels.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import chainladder
import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate import JointLossModel, LossHistory
from calibrate.models.pool_level import KnownLevel, LocalLevel, PoolLevel

LINES = ("medmal", "othliab", "prodliab", "ppauto", "comauto", "wkcomp")
YEARS, SCENARIOS = range(1988, 1998), 20_000


def panel(line: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Incurred losses and earned premiums, years x insurers that were there in every year."""
    lines = chainladder.load_sample("clrd")
    pool = lines[lines["LOB"] == line]
    index = pd.PeriodIndex(map(str, YEARS), freq="Y")
    names = pool.index["GRNAME"]
    losses, premiums = (
        pd.DataFrame(pool[column].latest_diagonal.values[:, 0, :, 0].T, index=index, columns=names).fillna(0)
        for column in ("IncurLoss", "EarnedPremNet")
    )
    kept = (premiums > 0).all() & (losses >= 0).all()
    return losses.loc[:, kept], premiums.loc[:, kept]


def forecasts(line: str, level: PoolLevel) -> Iterator[tuple[float, bool, float, float]]:
    """For each year from 1993 on: share of scenarios below what came, was memory said, width, score."""
    losses, premiums = panel(line)
    for t in range(5, 10):
        past = LossHistory.from_panel(
            losses.iloc[:t], exposures=premiums.iloc[:t], confirm_unit_jumps=list(losses.columns)
        )
        model = JointLossModel(pool_level=level).fit(past)
        ahead = model.sample(SCENARIOS, random_state=1, exposures=premiums.iloc[t]).losses.sum(axis=1)
        said = any("remember" in flag for flag in model.flags_)
        logs, came = np.sort(np.log(ahead)), float(np.log(losses.iloc[t].sum()))
        low, high = np.quantile(logs, [0.05, 0.95])
        yield float((logs < came).mean()), said, float(high - low), score(logs, came)


def score(ordered: npt.NDArray[np.float64], came: float) -> float:
    """Continuous ranked probability score of a sample in rising order: `E |X - y| - E |X - X'| / 2`."""
    n = ordered.size
    apart = (2 * np.arange(1, n + 1) - n - 1) @ ordered / n**2
    return float(np.abs(ordered - came).mean() - apart)


def main() -> None:
    for level in (LocalLevel(), KnownLevel()):
        print(level)
        rows = []
        for line in LINES:
            found = list(forecasts(line, level))
            rows += found
            print(f"{line:10}", *(f"{share:.3f}{'F' if said else ' '}" for share, said, *_ in found), flush=True)
        outside = sum(not 0.05 <= share <= 0.95 for share, *_ in rows)
        width, scored = (np.mean([row[k] for row in rows]) for k in (2, 3))
        print(f"{outside} of 30 outside the 90 % interval, mean width {width:.3f}, mean score {scored:.4f}")


if __name__ == "__main__":
    main()
