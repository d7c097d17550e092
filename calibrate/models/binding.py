"""How the losses of a history come together: by a dependence of columns, of segments' shocks, or by events alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats
from calibrate.models.collective import Collective
from calibrate.models.dependence import Dependence, Independent, StudentT
from calibrate.models.frequency import CountModel
from calibrate.models.frequency.self_exciting import SelfExciting
from calibrate.models.process import CollectiveProcess, OrderedMargins
from calibrate.models.shocks import PartlyShared, SelfExcitedEvents, shock_process

__all__ = ["bound_columns", "bound_events", "excited_events", "over", "units"]

ALL = "(all members)"


def bound_columns(asked: Dependence | None, losses: Floats, expected: Floats, segments: int) -> Dependence:
    """Dependence of losses (periods, columns) over what was to be expected: exposures, or expected events."""
    groups = np.tile(np.arange(segments), losses.shape[1] // segments)
    return _fresh(asked).fit(over(losses, expected), groups=groups)


def over(losses: Floats, expected: Floats) -> Floats:
    """Losses over what was to be expected; NaN where that is nothing: who is not there does not lose nothing."""
    return np.divide(losses, expected, out=np.full_like(losses, np.nan), where=expected > 0)


def bound_events(asked: Dependence | None, losses: Floats, counts: Floats, collective: Collective) -> CollectiveProcess:
    """By the dependence of the columns' losses; or of the segments' shocks: of events over their expected number, less
    what chance takes away. `counts` (periods, members, segments)."""
    models = [part.frequency for part in collective.segments]
    expected = np.stack([model.means_ for model in models], axis=2)
    shared = [g for g, model in enumerate(models) if model.shared]
    if not shared:
        bound = bound_columns(asked, losses, expected.reshape(losses.shape), len(models))
        return OrderedMargins(collective, bound)
    ratios, reliability = _shocks_seen(counts[:, :, shared], expected[:, :, shared], [models[g].size_ for g in shared])
    if len(shared) == len(models):
        return shock_process(collective, _fresh(asked).fit(ratios, reliability=reliability))
    columns = np.flatnonzero(~np.isin(np.arange(losses.shape[1]) % len(models), shared))
    own = over(losses, expected.reshape(losses.shape))[:, columns]
    groups = np.append(shared, columns % len(models))
    known = np.append(reliability, np.ones(columns.size))
    bound = _fresh(asked).fit(np.hstack([ratios, own]), groups=groups, reliability=known)
    return PartlyShared(collective, bound, shared, columns)


def units(models: Sequence[CountModel], columns: pd.Index[Any], segments: Sequence[str]) -> pd.Index[Any]:
    """What `bound_events` binds: shocks of the segments whose members share one, columns of the others."""
    shared = [name for name, model in zip(segments, models, strict=True) if model.shared]
    if not shared:
        return columns
    if len(shared) == len(segments):
        return pd.Index(shared, name="segment")
    apart = [column for column in columns if column[1] not in shared]
    return pd.MultiIndex.from_tuples([*((ALL, name) for name in shared), *apart], names=columns.names)


def _shocks_seen(counts: Floats, expected: Floats, sizes: Sequence[float]) -> tuple[Floats, Floats]:
    """Events over their expected number by segment, and which share of their variance is that of the shock."""
    means = expected.sum(axis=1)
    exposed = means > 0
    inverse = np.divide(1.0, means, out=np.zeros_like(means), where=exposed)
    chance = np.array(sizes) * inverse.sum(axis=0) / exposed.sum(axis=0)  # Poisson variance over that of the shock
    return np.where(exposed, counts.sum(axis=1) * inverse, np.nan), 1 / (1 + chance)


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
