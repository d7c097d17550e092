"""What a fitted model says of its tails: shape with interval, the cap that its mean rests on, and what to mind."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from calibrate.models.collective import Collective
from calibrate.models.endless import endless_losses
from calibrate.models.forms import NEAR_ONE
from calibrate.models.joint import JointLossModel
from calibrate.models.severity import BestOf, Burr, GeneralizedPareto, Severity, Spliced

__all__ = ["dependence_summary", "tail_table", "without_variance"]

COLUMNS = ["family", "shape", "lower", "upper", "exceedances", "cap", "cap_by", "has_mean", "mind"]


def tail_table(model: JointLossModel) -> pd.DataFrame:
    """One (member, segment) of a fitted event model a row; empty for a panel, which has no single events.

    Columns: `family`; `shape` of the tail with its 95 % profile-likelihood interval `lower, upper` (NaN where a family
    has none); `exceedances` it rests on; `cap`, the most that one event can cost before coverage (infinite: none), and
    `cap_by` whom; `has_mean` without it; `mind`, in words, what follows (empty: nothing).

    >>> from calibrate.history import LossHistory
    >>> from calibrate.models import Coverage
    >>> from calibrate.models.severity import LogNormal
    >>> dates = pd.date_range("2024-01-01", periods=30, freq="10D")
    >>> events = pd.DataFrame({"date": dates, "member": "A", "loss": np.arange(1.0, 31.0)})
    >>> history = LossHistory.from_events(events, date="date", member="member", loss="loss")
    >>> model = JointLossModel(severity=LogNormal(), coverage=Coverage(retention=5.0, limit=20.0)).fit(history)
    >>> tail_table(model)[["family", "cap", "cap_by"]].to_dict("records")
    [{'family': 'LogNormal', 'cap': 25.0, 'cap_by': 'limit of the cover'}]
    """
    check_is_fitted(model)
    collective = model.margins_
    if not isinstance(collective, Collective):
        return pd.DataFrame(columns=COLUMNS, index=pd.MultiIndex.from_arrays([[], []], names=["member", "segment"]))
    caps = collective.caps(model.exposures_.to_numpy())
    above = collective.terms.retention + collective.terms.limit
    by_segment = [_of_law(part.sizes.law) for part in collective.segments]
    rows = []
    for i, member in enumerate(model.members_):
        for g, segment in enumerate(model.segments_):
            cap, by = min((caps[i, g], "exposure"), (above[i], "limit of the cover"))
            found = _of_member(by_segment[g], float(collective.sizes[g].forms.power[i]))
            found |= {"cap": float(cap), "cap_by": by if math.isfinite(cap) else ""}
            rows.append({"member": member, "segment": segment, **found, "mind": _mind(found)})
    return pd.DataFrame(rows).set_index(["member", "segment"])[COLUMNS]


def dependence_summary(model: JointLossModel) -> dict[str, object]:
    """How the columns (or the segments' shocks) move together: range of correlation and of tail dependence over pairs.

    Keys: `family`, `lowest_correlation, highest_correlation`, `lowest_tail, highest_tail` (the chance that one is
    extreme given that the other is, in the limit; absent where the model has no closed form) and `pair`, whose tail
    dependence is highest. Empty where there is one column only.
    """
    check_is_fitted(model)
    rows, columns = np.triu_indices(len(model.correlation_), 1)
    if not rows.size:
        return {}
    correlation = model.correlation_.to_numpy()[rows, columns]
    found: dict[str, object] = {"family": type(model.dependence_).__name__}
    found |= {"lowest_correlation": float(correlation.min()), "highest_correlation": float(correlation.max())}
    tail = model.tail_dependence_.to_numpy()[rows, columns]
    if np.isfinite(tail).any():
        top = int(np.nanargmax(tail))
        labels = [" ".join(label) if isinstance(label, tuple) else str(label) for label in model.correlation_.index]
        found |= {"lowest_tail": float(np.nanmin(tail)), "highest_tail": float(tail[top])}
        found["pair"] = [labels[rows[top]], labels[columns[top]]]
    return found


def without_variance(model: JointLossModel) -> str:
    """Which losses of a fitted model have no variance and no cap (`endless_losses`); empty if none."""
    check_is_fitted(model)
    return endless_losses(model.process_, model.exposures_.to_numpy(), model.segments_)


def _of_law(law: Severity) -> dict[str, object]:
    if isinstance(law, BestOf):
        law = law.best_
    tail = law.tail_ if isinstance(law, Spliced) else law
    found: dict[str, object] = {"family": type(law).__name__, "shape": np.nan, "lower": np.nan, "upper": np.nan}
    found |= {"exceedances": np.nan, "has_mean": bool(law.has_mean_)}
    if isinstance(tail, GeneralizedPareto):
        interval = tail.shape_interval()
        found |= {"shape": interval.estimate, "lower": interval.lower, "upper": interval.upper}
        found["exceedances"] = float(tail.n_exceedances_)
    elif isinstance(tail, Burr):
        found |= {"shape": tail.shape_, "exceedances": float(tail.n_observations_)}
    return found


def _of_member(found: dict[str, object], power: float) -> dict[str, object]:
    """The tail of a member's own form: every shape times its power."""
    shapes = {name: float(str(found[name])) * power for name in ("shape", "lower", "upper")}
    return found | shapes | {"has_mean": bool(found["has_mean"]) or shapes["shape"] < 1}


def _mind(found: dict[str, object]) -> str:
    """What follows from a shape near one."""
    shape, upper = (float(str(found[name])) for name in ("shape", "upper"))
    if not found["has_mean"]:
        return "no mean without the cap: expected loss and risk rest on it"
    if shape >= NEAR_ONE:
        return "near 1: a sample's mean is too low, the closed form is used"
    if upper >= 1:
        return "a shape of 1, from which there is no mean without a cap, is not excluded"
    return ""
