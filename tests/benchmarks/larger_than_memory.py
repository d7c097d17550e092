"""A pool of more scenarios than memory holds: solved from blocks that are drawn again at every pass.

Run: python tests/benchmarks/larger_than_memory.py [scenarios, default 1e7] [members, default 100]. Prints seconds, the
passes over all scenarios, the largest resident memory of the process and the certified gap.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from calibrate import Scenarios, fairness
from calibrate.blocks import Blocks
from calibrate.program import CostOfCapital, CVaR, OwnContribution, PoolProblem, PoolReserve, Waterfall

ROWS = 32_768


def draw(block: int, count: int, members: int) -> np.ndarray:
    """One in ten entries positive, Pareto tails of exponent 2.5."""
    rng = np.random.Generator(np.random.SFC64([7, block]))
    rows = min(ROWS, count - block * ROWS)
    losses = np.zeros(rows * members)
    at = np.flatnonzero(rng.random(losses.size, dtype=np.float32) < 0.1)
    losses[at] = rng.pareto(2.5, at.size)
    return losses.reshape(rows, members)


def main(count: int, members: int) -> None:
    drawn = [0]

    def counted(block: int) -> np.ndarray:
        drawn[0] += 1
        return draw(block, count, members)

    pool = Scenarios(Blocks(counted, (count, members), ROWS))
    terms = [CostOfCapital(0.02, 0.05), CVaR(0.99, of="mutualised")]
    start = time.perf_counter()
    problem = PoolProblem(pool, Waterfall((OwnContribution(), PoolReserve())), terms, [fairness.ActuarialFairness(0.5)])
    stated = time.perf_counter() - start
    calibration = problem.solve()
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    passes = drawn[0] / -(-count // ROWS)
    print(f"{count:,} x {members} = {8 * count * members / 2**30:.1f} GiB: {seconds:.0f} s (stating it {stated:.0f})")
    print(f"drawn {passes:.1f} times in all; largest memory {memory:.2f} GiB; certified gap {calibration.gap:.1e}")
    print("; ".join(calibration.provenance["attempts"]))


if __name__ == "__main__":
    main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 10**7, int(sys.argv[2]) if len(sys.argv) > 2 else 100)
