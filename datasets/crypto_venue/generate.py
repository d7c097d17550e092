"""Make the synthetic crypto-derivatives venue: `python generate.py [FOLDER]` writes events, exposures and the truth.

Needs numpy and scipy. The seed is fixed: the same files come out byte for byte. README.md tells the process in words.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
from scipy import stats

SEED = 20260101
MONTHS = [f"{2019 + k // 12}-{1 + k % 12:02d}" for k in range(72)]
MEMBERS = [f"Desk {k:02d}" for k in range(1, 21)]
BILLION = 1e9

TRUTH = {
    "currency": "USD",
    "period": "month",
    "exposure": "average open interest of the month, USD",
    "segments": {
        "exploit": {
            "rate_per_billion_months": 0.12,
            "gamma_shape": 4.0,
            "body": {"family": "lognormal", "log_mean": float(np.log(4e5)), "log_sd": 1.2},
            "threshold": 2e6,
            "tail_probability": 0.20,
            "tail": {"family": "generalized Pareto", "shape": 0.55, "scale": 2.5e6},
        },
        "liquidation cascade": {
            "rate_per_billion_months": 0.60,
            "gamma_shape": 0.6,
            "body": {"family": "lognormal", "log_mean": float(np.log(6e4)), "log_sd": 1.0},
            "threshold": 3e5,
            "tail_probability": 0.12,
            "tail": {"family": "generalized Pareto", "shape": 0.30, "scale": 2.5e5},
        },
        "oracle failure": {
            "rate_per_billion_months": 0.20,
            "gamma_shape": 1.5,
            "body": {"family": "lognormal", "log_mean": float(np.log(1e5)), "log_sd": 1.1},
            "threshold": 5e5,
            "tail_probability": 0.15,
            "tail": {"family": "generalized Pareto", "shape": 0.45, "scale": 6e5},
        },
    },
    "shock_copula": {
        "family": "student t",
        "degrees_of_freedom": 4,
        "order": ["exploit", "liquidation cascade", "oracle failure"],
        "correlation": [[1.0, 0.2, 0.3], [0.2, 1.0, 0.6], [0.3, 0.6, 1.0]],
    },
}


def exposures(rng: np.random.Generator) -> np.ndarray:
    """Open interest, months x members: lognormal sizes, each a random walk with drift; whole dollars."""
    size = np.exp(rng.normal(np.log(1.8e8), 0.9, len(MEMBERS)))
    steps = rng.normal(0.006, 0.06, (len(MONTHS), len(MEMBERS)))
    return np.round(size * np.exp(np.cumsum(steps, axis=0)))


def shocks(rng: np.random.Generator) -> np.ndarray:
    """Common gamma shocks G, months x segments: mean 1, variance 1/shape, tied by the t copula."""
    copula = TRUTH["shock_copula"]
    factor = np.linalg.cholesky(np.array(copula["correlation"]))
    normal = rng.standard_normal((len(MONTHS), 3)) @ factor.T
    df = copula["degrees_of_freedom"]
    uniform = stats.t.cdf(normal / np.sqrt(rng.chisquare(df, (len(MONTHS), 1)) / df), df)
    shape = np.array([TRUTH["segments"][g]["gamma_shape"] for g in copula["order"]])
    return stats.gamma.ppf(uniform, shape, scale=1 / shape)


def severities(rng: np.random.Generator, segment: dict, n: int) -> np.ndarray:
    """`n` losses: lognormal body below the threshold, generalized Pareto tail above it; rounded to cents."""
    u, body, tail = segment["threshold"], segment["body"], segment["tail"]
    in_tail = rng.random(n) < segment["tail_probability"]
    uniform = 1 - rng.random(n)  # in (0, 1]
    below = stats.norm.cdf((np.log(u) - body["log_mean"]) / body["log_sd"])
    small = np.exp(body["log_mean"] + body["log_sd"] * stats.norm.ppf(uniform * below))
    large = u + tail["scale"] / tail["shape"] * (uniform ** -tail["shape"] - 1)
    return np.round(np.where(in_tail, large, np.maximum(small, 0.01)), 2)


def events(rng: np.random.Generator, exposure: np.ndarray) -> list[tuple[str, str, str, str]]:
    """One row an event; the events of one segment and month share their shock and fall within three days."""
    shock = shocks(rng)
    rows = []
    for g, (name, segment) in enumerate(TRUTH["segments"].items()):
        mean = segment["rate_per_billion_months"] * exposure / BILLION * shock[:, [g]]
        for (t, i), count in np.ndenumerate(rng.poisson(mean)):
            first_day = 1 + (7 * t + 9 * g) % 25
            days = first_day + rng.integers(0, 3, count)
            for day, loss in zip(days, severities(rng, segment, count), strict=True):
                rows.append((f"{MONTHS[t]}-{day:02d}", MEMBERS[i], name, f"{loss:.2f}"))
    return sorted(rows)


def mean_severity(segment: dict) -> float:
    """E X of the spliced severity in closed form."""
    u, body, tail = segment["threshold"], segment["body"], segment["tail"]
    z = (np.log(u) - body["log_mean"]) / body["log_sd"]
    small = np.exp(body["log_mean"] + body["log_sd"] ** 2 / 2) * stats.norm.cdf(z - body["log_sd"]) / stats.norm.cdf(z)
    large = u + tail["scale"] / (1 - tail["shape"])
    return float((1 - segment["tail_probability"]) * small + segment["tail_probability"] * large)


def truth(exposure: np.ndarray) -> dict:
    """The parameters, and what follows from them in closed form."""
    segments = {
        name: {
            **segment,
            "mean_severity": mean_severity(segment),
            "expected_loss_per_billion_months": segment["rate_per_billion_months"] * mean_severity(segment),
        }
        for name, segment in TRUTH["segments"].items()
    }
    each = sum(segment["expected_loss_per_billion_months"] for segment in segments.values())
    expected = {member: float(x / BILLION * each) for member, x in zip(MEMBERS, exposure[-1], strict=True)}
    return {**TRUTH, "seed": SEED, "segments": segments, "expected_loss_at_last_exposures": expected}


def main(folder: Path) -> None:
    """Write the three files."""
    rng = np.random.default_rng(SEED)
    exposure = exposures(rng)
    with (folder / "events.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("date", "member", "segment", "loss"))
        writer.writerows(events(rng, exposure))
    with (folder / "exposures.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("month", *MEMBERS))
        writer.writerows((month, *(f"{x:.0f}" for x in row)) for month, row in zip(MONTHS, exposure, strict=True))
    (folder / "truth.json").write_text(json.dumps(truth(exposure), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
