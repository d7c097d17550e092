"""Does the year after of each line lie where the simulation says, if an insurer's lines are segments of one pool?

Run: python tests/benchmarks/held_out_segments.py (needs chainladder). As `held_out.py`; members are the insurers that
write all of the lines, segments the lines. By line and for the pool, means of the years from 1993 on: share inside
the 90 % interval, its mean width and the mean continuous ranked probability score (both of the log of the loss).

Measured before years without a loss counted by size (the first two pools again since: widths within .002, scores
within .001); in brackets with one level for all lines (the segment levels left out), from before members' scatter
followed their exposure and they shared means:

    lines                          of       inside      width        score
    ppauto comauto wkcomp othliab  ppauto   1.0 (1.0)   .179 (.178)  .020 (.021)
                                   comauto  1.0 (1.0)   .220 (.207)  .024 (.022)
                                   wkcomp   1.0 (0.4)   .460 (.313)  .079 (.110)
                                   othliab  1.0 (0.8)   .636 (.450)  .067 (.075)
                                   pool     1.0 (1.0)   .180 (.177)  .020 (.022)
    ppauto wkcomp                  ppauto   1.0 (1.0)   .190 (.189)  .020 (.019)
                                   wkcomp   1.0 (0.4)   .432 (.298)  .074 (.103)
                                   pool     1.0 (1.0)   .190 (.189)  .020 (.022)
    comauto othliab                comauto  1.0 (0.8)   .182 (.129)  .020 (.026)
                                   othliab  1.0 (1.0)   .302 (.261)  .037 (.037)
                                   pool     1.0 (1.0)   .184 (.151)  .023 (.022)
    wkcomp othliab                 wkcomp   0.8 (0.6)   .318 (.288)  .088 (.102)
                                   othliab  1.0 (0.8)   .561 (.432)  .060 (.082)
                                   pool     0.8 (0.8)   .314 (.259)  .050 (.053)
    comauto wkcomp                 comauto  1.0 (1.0)   .336 (.214)  .026 (.043)
                                   wkcomp   0.8 (0.6)   .282 (.265)  .075 (.084)
                                   pool     0.8 (0.8)   .251 (.216)  .041 (.042)
    ppauto comauto                 ppauto   1.0 (1.0)   .187 (.189)  .020 (.022)
                                   comauto  1.0 (1.0)   .225 (.202)  .021 (.017)
                                   pool     1.0 (1.0)   .187 (.189)  .020 (.021)
    all lines                               0.97 (0.81) .322 (.258)  .045 (.055)
    all pools                               0.93 (0.93) .218 (.197)  .029 (.030)

Before the pool's scatter was measured without its rare zeros (`sampling.log_variances`) it was 0.80, .253, .046 of the
lines and 0.73, .163, .031 of the pools: one insurer has nine tenths of private passenger, and a small one without a
loss in one year gave the largest a chance of none, that passed for scatter and left no room for the level.

Five years of pools that overlap: a year of private passenger is counted three times. Little, but the lines of an
insurer do wander apart.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from held_out import panel, score

from calibrate import JointLossModel, LossHistory

POOLS = (
    ("ppauto", "comauto", "wkcomp", "othliab"),
    ("ppauto", "wkcomp"),
    ("comauto", "othliab"),
    ("wkcomp", "othliab"),
    ("comauto", "wkcomp"),
    ("ppauto", "comauto"),
)
SCENARIOS = 8_000


def joined(lines: tuple[str, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Losses and premiums, years x (insurer, line), of those that write them all."""
    tables = {line: panel(line) for line in lines}
    names = sorted(set.intersection(*(set(losses) for losses, _ in tables.values())))
    losses, premiums = (
        pd.concat({(name, line): tables[line][k][name] for name in names for line in lines}, axis=1) for k in (0, 1)
    )
    return losses, premiums


def judged(lines: tuple[str, ...]) -> pd.DataFrame:
    """One row for each line, and the pool, of each year."""
    losses, premiums = joined(lines)
    rows = []
    for t in range(5, 10):
        past = LossHistory.from_panel(
            losses.iloc[:t], exposures=premiums.iloc[:t], confirm_unit_jumps=list(dict(losses.columns))
        )
        drawn = JointLossModel().fit(past).sample(SCENARIOS, random_state=1, exposures=premiums.iloc[t]).losses
        came = losses.iloc[t].to_numpy()
        of = losses.columns.get_level_values(1)
        for name, held in [*((line, of == line) for line in lines), ("pool", came >= 0)]:
            logs, y = np.log(drawn[:, held].sum(axis=1)), float(np.log(came[held].sum()))
            low, high = np.quantile(logs, [0.05, 0.95])
            rows.append((name, float(low <= y <= high), high - low, score(logs[:, None], y)[0]))
    return pd.DataFrame(rows, columns=["of", "inside", "width", "score"]).groupby("of", sort=False).mean()


def main() -> None:
    for lines in POOLS:
        print(*lines)
        print(judged(lines).to_string(float_format="{:.3f}".format), flush=True)


if __name__ == "__main__":
    main()
