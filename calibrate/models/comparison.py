"""What else could have been fitted, and how it scores: every choice beside those that lost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import kstest
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import CalibrateError, ModelError
from calibrate.history import LossHistory
from calibrate.models.arrays import Floats
from calibrate.models.binding import over
from calibrate.models.collective import Collective, Events
from calibrate.models.dependence.correlation import Ranks
from calibrate.models.dependence.gaussian import Gaussian
from calibrate.models.dependence.likelihood import pairwise_log_likelihood
from calibrate.models.dependence.student_t import StudentT
from calibrate.models.frequency import (
    CountModel,
    Elastic,
    Hawkes,
    NegativeBinomial,
    Poisson,
    Reshaped,
    SharedShock,
    Trend,
    ZeroInflated,
)
from calibrate.models.frequency.baseline import Baseline
from calibrate.models.frequency.self_exciting import SelfExciting
from calibrate.models.joint import JointLossModel
from calibrate.models.severity import BestOf, Burr, Gamma, LogNormal, Observation, Severity, Spliced, Weibull
from calibrate.models.size_powers import at_references
from calibrate.models.size_trend import at_sizes_ahead

__all__ = ["compare"]

COLUMNS = ["log_likelihood", "parameters", "aic", "log_score", "p_value", "chosen", "note"]
SEVERITIES = (LogNormal(), Gamma(), Weibull(), Burr(), Spliced())
FREQUENCIES = (
    Poisson(),
    NegativeBinomial(),
    ZeroInflated(Poisson()),
    ZeroInflated(NegativeBinomial()),
    SharedShock(),
    Elastic(NegativeBinomial()),
    Elastic(SharedShock()),
    Trend(NegativeBinomial()),
    Trend(SharedShock()),
)
LATEST = 3000  # events that the self-exciting process is fitted to: more take long and say the same
NORMAL = 1e3  # degrees of freedom from which a t copula is a normal one


def compare(model: JointLossModel, history: LossHistory) -> pd.DataFrame:
    """Candidates for every part of a fitted model on the history it was fitted to, the losers' scores kept.

    Rows (part, segment, candidate); columns `log_likelihood, parameters, aic, log_score` (minus the mean log density of
    losses left out, smaller is better), `p_value` (of time rescaling), `chosen` (what the model uses), `note`.
    Scores compare within a part and a segment only. Parts: `frequency` (counts by period), `clustering` (event times, a
    self-exciting against a constant rate, both times exposure; `JointLossModel(frequency=Hawkes())` simulates it),
    `severity` (losses at the members' scales), `dependence` (composite likelihood of pairs). A candidate that cannot be
    fitted says why.

    >>> losses = pd.DataFrame({"A": [1.0, 3.0, 2.0], "B": [2.0, 1.0, 5.0]}, index=[2020, 2021, 2022])
    >>> history = LossHistory.from_panel(losses)
    >>> compare(JointLossModel().fit(history), history)["chosen"].to_list()
    [False, False, True]
    """
    check_is_fitted(model)
    history = at_sizes_ahead(at_references(history, model.size_powers_), model.size_trends_)
    losses = history.losses.to_numpy()
    rows: list[dict[str, Any]] = []
    if history.events is None:
        given = np.ones_like(losses) if history.exposures is None else history.exposures.to_numpy()
        expected = given
    else:
        collective = _collective(model)
        exposures = np.ones_like(losses) if history.exposures is None else history.exposures.to_numpy()
        events = Events.of(history, history.events, exposures)
        seen = events.sizes([None] * len(model.segments_))
        for g, (name, part) in enumerate(zip(model.segments_, collective.segments, strict=True)):
            rows += _frequencies(name, events, g, part.frequency)
            rows += _clustering(name, events, g, part.frequency)
            rows += _severities(name, part.sizes.law, seen.standard[g], seen.at_least[g])
        expected = np.stack([part.frequency.means_ for part in collective.segments], axis=2).reshape(losses.shape)
    rows += _dependences(model, over(losses, expected))
    table = pd.DataFrame(rows, columns=["part", "segment", "candidate", *COLUMNS])
    return table.set_index(["part", "segment", "candidate"]).sort_index(level=[0, 1], sort_remaining=False)


def _collective(model: JointLossModel) -> Collective:
    if not isinstance(model.margins_, Collective):
        raise ModelError("the model was fitted to a panel, the history has events; pass the history it was fitted to")
    return model.margins_


def _row(part: str, segment: str, candidate: object, found: Mapping[str, Any]) -> dict[str, Any]:
    blank = dict.fromkeys(COLUMNS[:5], math.nan) | {"chosen": False, "note": ""}
    return {"part": part, "segment": segment, "candidate": " ".join(str(candidate).split()), **blank, **found}


def _frequencies(name: str, events: Events, g: int, used: CountModel) -> Iterator[dict[str, Any]]:
    known = {repr(one) for one in FREQUENCIES}
    own = () if repr(used) in known or isinstance(used, SelfExciting) else (used,)
    for candidate in (*FREQUENCIES, *own):
        try:
            fitted = events.frequency(candidate, g)
        except CalibrateError as error:
            yield _row("frequency", name, repr(candidate), {"note": str(error)})
            continue
        plain = getattr(candidate, "base", None) or candidate
        more = isinstance(candidate, ZeroInflated) + len(getattr(fitted, "coefficients_", ()))
        more += isinstance(fitted, Reshaped) and fitted.kept
        parameters = events.counts.shape[1] + (not isinstance(plain, Poisson)) + more
        value = float(fitted.log_likelihood_)
        note = f"size {fitted.size_:.3g}" if math.isfinite(fitted.size_) else ""
        if isinstance(fitted, Reshaped):
            found = f"coefficient {fitted.coefficient_:.3g}" if fitted.kept else "coefficient not kept (5 % test)"
            note = f"{found}{', ' if note else ''}{note}"
        if isinstance(fitted, ZeroInflated):
            note = f"idle with probability {fitted.idle_probability_:.3g}{', ' if note else ''}{note}"
        scores = {"log_likelihood": value, "parameters": parameters, "aic": 2 * parameters - 2 * value}
        yield _row("frequency", name, repr(candidate), scores | {"chosen": repr(candidate) == repr(used), "note": note})


def _clustering(name: str, events: Events, g: int, used: CountModel) -> Iterator[dict[str, Any]]:
    """Times of events at the rates that exposures give: on their own, and exciting each other."""
    calendar, excited = events.calendar.where(events.segment == g), isinstance(used, SelfExciting)
    level = SharedShock().fit(events.counts[:, :, g], exposure=events.exposures[:, :, g]).means_.sum(axis=1)
    days, first = np.sort(calendar.days), 0
    if len(days) > LATEST and not excited:
        first = int(np.searchsorted(calendar.edges, days[-LATEST], side="right")) - 1
    edges = calendar.edges[first:] - calendar.edges[first]
    baseline, recent = Baseline.of(edges, level[first:]), days[days >= calendar.edges[first]] - calendar.edges[first]
    try:
        fresh = Hawkes(resolution=1.0)
        process = used.process_ if excited else fresh.fit(recent, start=0.0, end=edges[-1], exposure=baseline)
    except CalibrateError as error:
        yield _row("clustering", name, "Hawkes", {"note": str(error)})
        return
    brings = f"an event brings {process.branching_ratio_:.2f} more, {1 / process.decay_:.3g} days later in the mean"
    brings += f" (of the latest {len(recent):,} events)" if first else ""
    constant = np.diff(baseline.until(process.times_), prepend=0.0) * process.times_.size / process.horizon_
    for candidate, value, parameters, residuals, chosen, note in (
        ("Hawkes", process.log_likelihood_, 3, process.residuals_, excited, brings),
        ("constant rate", process.poisson_log_likelihood_, 1, constant, False, ""),
    ):
        scores = {"log_likelihood": value, "parameters": parameters, "aic": 2 * parameters - 2 * value}
        p_value = float(kstest(residuals, "expon").pvalue)
        yield _row("clustering", name, candidate, scores | {"p_value": p_value, "chosen": chosen, "note": note})


def _severities(name: str, used: Severity, losses: Floats, at_least: npt.NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
    known = {repr(one) for one in SEVERITIES}
    candidates = [*SEVERITIES, *(() if repr(used) in known else (clone(used),))]
    try:
        scores = BestOf(candidates).fit(losses, observation=Observation(open_claim=at_least)).scores_
    except CalibrateError as error:
        yield _row("severity", name, repr(used), {"chosen": True, "note": str(error)})
        return
    for candidate, found in scores.iterrows():
        row = {key: found[key] for key in ("aic", "log_score")} | {"note": found["reason"]}
        yield _row("severity", name, candidate, row | {"chosen": str(candidate) == repr(used)})


def _dependences(model: JointLossModel, ratios: Floats) -> Iterator[dict[str, Any]]:
    """Of the columns; of the segments' shocks nothing is compared: they are too few."""
    if len(model.correlation_) != ratios.shape[1] or ratios.shape[1] < 2:
        return
    used = model.dependence_
    groups = np.tile(np.arange(len(model.segments_)), len(model.members_))
    normal, student = (
        used if repr(used) == repr(one) else one.fit(ratios, groups=groups) for one in (Gaussian(), StudentT())
    )
    weights = np.ones(len(ratios))
    ranks = Ranks.of(ratios, weights, np.ones(ratios.shape[1]))
    laws = {
        "Independent()": (np.eye(ratios.shape[1]), NORMAL),
        "Gaussian()": (normal.correlation_, NORMAL),
        "StudentT()": (student.correlation_, student.degrees_of_freedom_),
    }
    for candidate, (correlation, v) in laws.items():
        value = pairwise_log_likelihood(ranks, weights, correlation, v)
        note = "" if v == NORMAL else f"degrees of freedom {v:.3g}"
        yield _row(
            "dependence", "", candidate, {"log_likelihood": value, "chosen": candidate == repr(used), "note": note}
        )
    if repr(used) not in laws:
        yield _row("dependence", "", repr(used), {"chosen": True, "note": "has no likelihood of pairs to compare"})
