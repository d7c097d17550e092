"""Does the year after of each line lie where the simulation says, if an insurer's lines are segments of one pool?

Run: python tests/benchmarks/held_out_segments.py (needs chainladder). As `held_out.py`; members are the insurers that
write all of the lines, segments the lines. By line and for the pool, means of the years from 1993 on: share inside
the 90 % interval, its mean width and the mean continuous ranked probability score (both of the log of the loss).

Measured, in brackets with one level for all lines (the segment levels left out):

    lines                          of       inside      width        score
    ppauto comauto wkcomp othliab  ppauto   0.6 (0.6)   .073 (.079)  .022 (.021)
                                   comauto  0.8 (0.8)   .125 (.131)  .024 (.021)
                                   wkcomp   0.8 (0.4)   .327 (.267)  .087 (.115)
                                   othliab  1.0 (0.8)   .494 (.420)  .064 (.076)
                                   pool     0.6 (0.6)   .071 (.075)  .024 (.023)
    ppauto wkcomp                  ppauto   0.6 (0.6)   .074 (.082)  .022 (.019)
                                   wkcomp   0.6 (0.4)   .260 (.237)  .082 (.110)
                                   pool     0.6 (0.6)   .075 (.082)  .024 (.023)
    comauto othliab                comauto  1.0 (0.8)   .176 (.127)  .020 (.026)
                                   othliab  1.0 (1.0)   .320 (.261)  .038 (.037)
                                   pool     1.0 (1.0)   .188 (.150)  .023 (.022)
    wkcomp othliab                 wkcomp   0.6 (0.6)   .310 (.280)  .088 (.103)
                                   othliab  1.0 (0.8)   .545 (.428)  .059 (.082)
                                   pool     0.8 (0.8)   .300 (.249)  .051 (.053)
    comauto wkcomp                 comauto  1.0 (1.0)   .312 (.202)  .024 (.044)
                                   wkcomp   0.8 (0.6)   .273 (.256)  .075 (.085)
                                   pool     0.8 (0.8)   .236 (.204)  .041 (.042)
    ppauto comauto                 ppauto   0.6 (0.6)   .111 (.111)  .022 (.023)
                                   comauto  0.8 (1.0)   .144 (.134)  .019 (.015)
                                   pool     0.6 (0.6)   .110 (.110)  .022 (.022)
    all lines                               0.80 (0.71) .253 (.215)  .046 (.056)
    all pools                               0.73 (0.73) .163 (.145)  .031 (.031)

Five years of pools that overlap: little, but the lines of an insurer do wander apart.
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
