"""Does the year after lie where the simulation says? Six lines of the CAS loss reserve database, year by year.

Run: python tests/benchmarks/held_out.py (needs chainladder). Insurers with premium in all ten years; the model is
fitted to the years before and asked about the incurred losses at the premiums of the year itself. Of the pool: the
share of scenarios below what came, and `F` where the model said that the pool's years remember each other; how many
of 30 lie outside the 90 % interval, its mean width (of the log), and the mean continuous ranked probability score of
the log of the pool's loss. Of the members, by line: shares of their years inside the 90 % interval of the loss ratio,
above it, and beyond its 99 % quantile (`far`); mean scores of the ratio, smaller is better: `ranked` as above,
`interval` of 90 % (width, and 20 times what lies outside), `tail` (99 % quantile, and 100 times what lies beyond).

Measured with `LocalLevel`, the default: 1 of 30 lies outside (medical malpractice .849 .746 .622 .559 .421, other
liability .857 .856 .103 .539 .292, products .921 .860 .630 .492 .703, private passenger .436 .430 .151 .151 .357,
commercial auto .807 .810 .571 .154 .407, workers' compensation .011 .242 .524 .684 .827), width .354, score .048. (3,
with width .351, as long as rare zeros of the largest member passed for scatter of every year.)
With `KnownLevel`, the level of the whole history taken as known, before members' scatter followed their exposure: 9 of
30 (medical malpractice .975 .950 .919 .880 .814, other liability .952 .962 .570 .683 .366, products .893 .903 .805
.707 .790, private passenger .091 .106 .029 .013 .030, commercial auto .658 .859 .705 .188 .282, workers' compensation
.002 .009 .034 .112 .321), width .375, score .099. Years of a line are not independent, and six lines are few: pools of
known truth are in `wandering_levels.py`.

Members with `LocalLevel`, in brackets as long as means of logs were pooled, and not logs of means, and zeros whatever
a member's size (the same interval of the pool):

    line       inside        above         far           ranked        interval       tail           years
    medmal     .957 (.943)   .029 (.043)   .014 (.014)   .141 (.140)   1.013 (1.017)  1.921 (1.934)  70
    othliab    .899 (.898)   .059 (.061)   .014 (.013)   .233 (.236)   2.297 (2.337)  3.511 (3.518)  765
    prodliab   .869 (.869)   .087 (.081)   .013 (.013)   .212 (.205)   1.691 (1.570)  2.310 (2.495)  160
    ppauto     .902 (.904)   .057 (.057)   .015 (.015)   .070 (.079)   .589 (.764)    1.319 (1.918)  460
    comauto    .874 (.879)   .083 (.079)   .020 (.020)   .144 (.145)   1.304 (1.323)  2.203 (2.199)  445
    wkcomp     .862 (.858)   .068 (.074)   .018 (.018)   .092 (.093)   .871 (.869)    1.586 (1.572)  325
    mean       .894 (.892)   .064 (.066)   .016 (.016)   .149 (.150)   1.294 (1.313)  2.142 (2.273)

With a scatter that is the same at all exposures of a member the means were .899, .063, .017, .151, 1.405 and 2.795.
(With that scatter and `LogNormalRatio`, nothing lighter or heavier: .902, .061, .014, .151, 1.409, 2.843.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import chainladder
import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate import JointLossModel, LossHistory
from calibrate.models.pool_level import KnownLevel, LocalLevel, PoolLevel

Floats = npt.NDArray[np.float64]
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


@dataclass(frozen=True)
class Forecast:
    """Scenarios of a year, members' ratios of loss to premium, and what came."""

    ahead: Floats
    came: Floats
    premiums: Floats
    said: bool

    @property
    def pool(self) -> tuple[float, bool, float, float]:
        """Share of scenarios of the pool's loss below what came, was memory said, width, score (both of the log)."""
        logs, came = np.log(self.ahead @ self.premiums), float(np.log(self.came @ self.premiums))
        low, high = np.quantile(logs, [0.05, 0.95])
        return float((logs < came).mean()), self.said, float(high - low), float(score(logs[:, None], came)[0])

    @property
    def members(self) -> pd.DataFrame:
        """Is a member's ratio inside, above, beyond the 99 % quantile; three scores of it (smaller is better)."""
        low, high, far = np.quantile(self.ahead, [0.05, 0.95, 0.99], axis=0)
        missed = np.maximum(low - self.came, 0) + np.maximum(self.came - high, 0)
        columns = {"inside": missed == 0, "above": self.came > high, "far": self.came > far}
        columns |= {"ranked": score(self.ahead, self.came), "interval": high - low + 20 * missed}
        columns |= {"tail": far + 100 * np.maximum(self.came - far, 0)}
        return pd.DataFrame(columns, dtype=np.float64)


def forecasts(line: str, level: PoolLevel) -> Iterator[Forecast]:
    """For each year from 1993 on."""
    losses, premiums = panel(line)
    for t in range(5, 10):
        past = LossHistory.from_panel(
            losses.iloc[:t], exposures=premiums.iloc[:t], confirm_unit_jumps=list(losses.columns)
        )
        model = JointLossModel(pool_level=level).fit(past)
        paid = premiums.iloc[t].to_numpy()
        ahead = model.sample(SCENARIOS, random_state=1, exposures=premiums.iloc[t]).losses / paid
        said = any("remember" in flag for flag in model.flags_)
        yield Forecast(ahead, losses.iloc[t].to_numpy() / paid, paid, said)


def score(drawn: Floats, came: Floats | float) -> Floats:
    """Continuous ranked probability score of the columns of a sample: `E |X - y| - E |X - X'| / 2`."""
    ordered = np.sort(drawn, axis=0)
    n = len(ordered)
    apart = (2 * np.arange(1, n + 1) - n - 1) @ ordered / n**2
    return np.asarray(np.abs(ordered - came).mean(axis=0) - apart)


def main() -> None:
    for level in (LocalLevel(), KnownLevel()):
        print(level)
        rows, members = [], {}
        for line in LINES:
            found = list(forecasts(line, level))
            rows += [forecast.pool for forecast in found]
            members[line] = pd.concat([forecast.members for forecast in found])
            shown = (f"{share:.3f}{'F' if said else ' '}" for share, said, *_ in rows[-len(found) :])
            print(f"{line:10}", *shown, flush=True)
        outside = sum(not 0.05 <= share <= 0.95 for share, *_ in rows)
        width, scored = (np.mean([row[k] for row in rows]) for k in (2, 3))
        print(f"{outside} of 30 outside the 90 % interval, mean width {width:.3f}, mean score {scored:.4f}")
        table = pd.DataFrame({line: found.mean() for line, found in members.items()}).T
        table["years"] = [len(found) for found in members.values()]
        means = table.mean().rename("mean of lines").to_frame().T
        print(pd.concat([table, means]).round({"years": 0}).to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
