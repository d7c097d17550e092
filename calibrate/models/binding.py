"""How the losses of a history come together: by a dependence of columns, of segments' shocks, or by events alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import clone

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats
from calibrate.models.collective import Collective
from calibrate.models.dependence import Dependence, Independent, StudentT
from calibrate.models.frequency.self_exciting import SelfExciting
from calibrate.models.process import CollectiveProcess, OrderedMargins, SelfExcitedEvents, shock_process

__all__ = ["bound_columns", "bound_events", "excited_events"]


def bound_columns(asked: Dependence | None, losses: Floats, expected: Floats, segments: int) -> Dependence:
    """Dependence of losses (periods, columns) over what was to be expected: exposures, or expected events."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(expected > 0, losses / expected, 0.0)
    groups = np.tile(np.arange(segments), losses.shape[1] // segments)
    return _fresh(asked).fit(ratios, groups=groups)


def bound_events(asked: Dependence | None, losses: Floats, counts: Floats, collective: Collective) -> CollectiveProcess:
    """By the dependence of the columns' losses; or of the segments' shocks: of events over their expected number, less
    what chance takes away. `counts` (periods, members, segments)."""
    models = [part.frequency for part in collective.segments]
    if not models[0].shared:
        expected = np.stack([model.means_ for model in models], axis=2)
        bound = bound_columns(asked, losses, expected.reshape(losses.shape), len(models))
        return OrderedMargins(collective, bound)
    expected = np.column_stack([model.means_.sum(axis=1) for model in models])
    sizes, exposed = np.array([model.size_ for model in models]), expected > 0
    inverse = np.divide(1.0, expected, out=np.zeros_like(expected), where=exposed)
    chance = sizes * inverse.sum(axis=0) / exposed.sum(axis=0)  # Poisson variance over that of the shock
    ratios = np.where(exposed, counts.sum(axis=1) * inverse, 1.0)
    return shock_process(collective, _fresh(asked).fit(ratios, reliability=1 / (1 + chance)))


def excited_events(
    asked: Dependence | None, frequencies: Sequence[object], collective: Collective
) -> tuple[SelfExcitedEvents, Dependence, tuple[str, ...]]:
    """Members come together by the process; a copula has nothing to bind. And what is to be said of it."""
    if not isinstance(asked, Independent | None):
        raise ModelError(f"dependence is {asked!r}, and Hawkes brings members together by its own events; leave it out")
    process = SelfExcitedEvents(collective, [each for each in frequencies if isinstance(each, SelfExciting)])
    alone = "each segment's events bring others in it alone: join segments whose events bring each other"
    nothing = Independent().fit(np.zeros((2, len(frequencies))))
    return process, nothing, (alone,) if len(frequencies) > 1 else ()


def _fresh(asked: Dependence | None) -> Dependence:
    return StudentT() if asked is None else clone(asked)
