"""What a proof costs: building the certificate, saving it with the scenarios, and verifying it alone in a fresh Python.

    python tests/benchmarks/verifier.py

Measured on two cores that others used as well (load 10, Python 3.11), wall clock in seconds, before bounds counted what
rows give; the processor time of the verifier on 100 x 20,000 with every loss positive, 2.8 seconds then on one machine,
is 5.2 now on another, its peak memory was 330 MB:

| members x scenarios | positive | certificate | save | verify |
|---|---|---|---|---|
| 100 x 20,000 | all | 1.7 | 0.3 | 6.9 |
| 100 x 20,000 | 3 in 10 | 1.4 | 0.6 | 3.4 |
| 100 x 200,000 | 1 in 10 | 2.9 | 1.0 | 12.9 |
| 100 x 1,000,000 (not run below) | 1 in 10 | 7.2 | 3.5 | |
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from calibrate import Scenarios, certificate, fairness
from calibrate.program import CostOfCapital, CVaR, PoolProblem, Waterfall

VERIFIER = Path(certificate.__file__).with_name("verifier.py")


def scenarios(n, members, present):
    rng = np.random.default_rng(0)
    losses = rng.pareto(2.5, (n, members)) * rng.lognormal(0, 1, members)
    return Scenarios(losses * (rng.random(losses.shape) < present))


def timed(what):
    before = time.perf_counter()
    result = what()
    return result, time.perf_counter() - before


def main():
    for n, present in ((20_000, 1.0), (20_000, 0.3), (200_000, 0.1)):
        terms = [CostOfCapital(0.02, 0.4), 0.1 * CVaR(0.99, of="mutualised")]
        problem = PoolProblem(scenarios(n, 100, present), Waterfall(), terms, [fairness.ActuarialFairness(0.5)])
        calibration, solved = timed(problem.solve)
        _, built = timed(lambda answer=calibration: answer.certificate["decimals"])
        with tempfile.TemporaryDirectory() as folder:
            run, saved = timed(lambda answer=calibration, home=folder: answer.save(Path(home) / "run"))
            command = [sys.executable, "-S", "-I", str(VERIFIER), str(run)]
            done, verified = timed(
                lambda call=command: subprocess.run(call, capture_output=True, text=True, check=False)
            )
        print(
            f"100 x {n:,}, {present:.0%} positive: solve {solved:.1f} s, certificate {built:.1f} s, "
            f"save {saved:.1f} s, verify {verified:.1f} s: {done.stdout.splitlines()[-1]}"
        )


if __name__ == "__main__":
    main()
