"""Losses sorted out are those of a table looked at entry by entry."""

import numpy as np
import pytest

from calibrate.program import sorting
from calibrate.program.sorting import sorted_out


def by_hand(losses, chosen, worth, unit, bounds, mutualised, n_groups):
    """Entries of every group by kind, in plain Python."""
    covered, exceeded = bounds
    kinks, lines, base = [], [], []
    for s, scenario in enumerate(chosen):
        for g in range(n_groups):
            total = 0.0
            kinks.append([])
            lines.append([])
            for j in range(g, losses.shape[1], n_groups):
                loss = losses[scenario, j] / unit
                members = worth.shape[1]
                w = worth[s, j // (losses.shape[1] // members)] if members else 1.0
                limit = w * exceeded[j] if w or np.isfinite(exceeded[j]) else np.inf
                if not mutualised:
                    total += loss
                    if members:
                        lines[-1].append((j, loss, w))
                elif loss > 0 and loss >= limit:
                    total += loss
                    lines[-1].append((j, loss, w))
                elif loss > w * covered[j]:
                    kinks[-1].append((j, loss, w))
            base.append(total)
    return kinks, lines, base


def told(entries):
    rows = list(zip(entries.cell.tolist(), entries.loss.tolist(), entries.worth.tolist(), strict=True))
    return [rows[a:b] for a, b in zip(entries.ends[:-1], entries.ends[1:], strict=True)]


@pytest.mark.parametrize("n_groups", [1, 2])
@pytest.mark.parametrize("collateral", [False, True])
@pytest.mark.parametrize("mutualised", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_they_are_those_of_a_table(n_groups, collateral, mutualised, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    losses = np.ceil(rng.pareto(1.2, (90, 6))) * (rng.random((90, 6)) < 0.5)
    if seed == 1:
        losses = losses[::3]  # a view, as of a thinned sample
    losses.setflags(write=False)
    chosen = np.sort(rng.permutation(len(losses))[:20])
    worth = rng.choice([0.0, 0.5, 1.0], (20, 3)) if collateral else np.zeros((20, 0))
    bounds = rng.choice([0.0, 0.5, 1.0], 6), rng.choice([1.0, 2.0, np.inf], 6)
    if seed == 2:
        monkeypatch.setattr(sorting, "SIDE_BY_SIDE_FROM", 1)
    found = sorted_out(losses, chosen, worth, 0.25, bounds, mutualised, n_groups)
    kinks, lines, base = by_hand(losses, chosen, worth, 0.25, bounds, mutualised, n_groups)
    assert told(found.open) == kinks
    assert told(found.lines) == lines
    assert found.base.ravel().tolist() == base
    assert found.lines.owners.tolist() == [g for g, one in enumerate(lines) for _ in one]
    some = np.array([3, 0])
    item, part = found.open.of(some)
    assert told(part) == [kinks[3], kinks[0]]
    assert item.tolist() == [0] * len(kinks[3]) + [1] * len(kinks[0])


def test_nothing_chosen():
    bounds = np.zeros(4), np.ones(4)
    found = sorted_out(np.ones((3, 4)), np.zeros(0, dtype=np.int64), np.zeros((0, 0)), 1.0, bounds, True, 1)
    assert found.base.shape == (0, 1)
    assert not found.open.cell.size
    assert found.open.ends.tolist() == [0]
