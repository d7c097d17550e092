"""Choice among severity families, with the losers' scores kept."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone

from calibrate.errors import ModelError
from calibrate.models.severity.base import Floats, Severity
from calibrate.models.severity.burr import Burr
from calibrate.models.severity.gamma import Gamma
from calibrate.models.severity.lognormal import LogNormal
from calibrate.models.severity.observation import Sample
from calibrate.models.severity.spliced import Spliced
from calibrate.models.severity.weibull import Weibull

__all__ = ["AIC", "BIC", "BestOf", "Criterion", "LogScore"]


class Criterion(BaseEstimator):  # type: ignore[misc]
    """A score of a fitted model, smaller is better; AIC and BIC on the scale of `-2 log L`."""

    @abstractmethod
    def of(self, model: Severity, sample: Sample) -> float:
        """Score of the model that was fitted to the sample."""


class AIC(Criterion):
    """`2 k - 2 log L` (Akaike 1974)."""

    def of(self, model: Severity, sample: Sample) -> float:
        """Score of the model that was fitted to the sample."""
        return model.aic_


class BIC(Criterion):
    """`k log n - 2 log L` (Schwarz 1978)."""

    def of(self, model: Severity, sample: Sample) -> float:
        """Score of the model that was fitted to the sample."""
        return model.bic_


class LogScore(Criterion):
    """Minus the mean log density of losses that the fit did not see, by cross-validation (Gneiting, Raftery 2007).

    Losses are dealt to the folds in their order of size, at random within each deal, so that every fold has its
    share of the tail. Infinite if a model holds a left-out loss to be impossible.
    """

    def __init__(self, folds: int = 10, random_state: int = 0) -> None:
        self.folds = folds
        self.random_state = random_state

    def of(self, model: Severity, sample: Sample) -> float:
        """Score of the model, fitted again without each fold."""
        fold = self._deal(sample.losses)
        total = 0.0
        for k in range(self.folds):
            fresh = clone(model)
            fresh._fit(sample.where(fold != k))
            held = sample.where(fold == k)
            total -= float(held.weights @ fresh.log_terms(held))
        return total / sample.weight

    def _deal(self, losses: Floats) -> Floats:
        if not 2 <= self.folds <= losses.size:
            raise ModelError(
                f"LogScore: {self.folds} folds of {losses.size} losses; expected between 2 and {losses.size}"
            )
        generator = np.random.default_rng(self.random_state)
        deals = [generator.permutation(self.folds) for _ in range(-(-losses.size // self.folds))]
        fold = np.empty(losses.size)
        fold[np.argsort(losses, kind="stable")] = np.concatenate(deals)[: losses.size]
        return fold


class BestOf(Severity):
    """The best of several families by one criterion; all are scored by all criteria and none is forgotten.

    Parameters
    ----------
    candidates : severity estimators; LogNormal, Gamma, Weibull, Burr and a spliced tail if not given.
    criterion : `AIC()`, `BIC()` or `LogScore()`; AIC if not given.

    Fitted: `best_` and `scores_`: one candidate a row, columns `aic, bic, log_score` (smaller is better), `chosen`,
    `reason` (why a candidate could not be scored). A law without a density for all losses (Empirical, a tail alone)
    cannot be compared by likelihood and is refused in words.

    >>> x = np.exp(np.random.default_rng(0).normal(size=500))
    >>> BestOf([LogNormal(), Gamma()]).fit(x).best_
    LogNormal()
    """

    best_: Severity
    scores_: pd.DataFrame

    def __init__(self, candidates: Sequence[Severity] | None = None, criterion: Criterion | None = None) -> None:
        self.candidates = candidates
        self.criterion = criterion

    def _fit(self, sample: Sample) -> None:
        candidates = self.candidates or (LogNormal(), Gamma(), Weibull(), Burr(), Spliced())
        criterion = self.criterion or AIC()
        fitted: list[tuple[float, Severity]] = []
        rows = []
        for candidate in candidates:
            row, model = _scored(candidate, sample)
            rows.append(row)
            try:
                fitted += [] if model is None else [(criterion.of(model, sample), model)]
            except ModelError as error:
                row["reason"] = str(error)
        finite = [pair for pair in fitted if math.isfinite(pair[0])]
        if not finite:
            raise ModelError(
                "BestOf: no candidate could be scored: " + "; ".join(f"{r['model']}: {r['reason']}" for r in rows)
            )
        self.best_ = min(finite, key=lambda pair: pair[0])[1]
        self.scores_ = pd.DataFrame(rows).set_index("model")
        self.scores_["chosen"] = [row["model"] == repr(self.best_) for row in rows]
        self.log_likelihood_, self.n_parameters_ = self.best_.log_likelihood_, self.best_.n_parameters_
        self.has_mean_, self.endpoint_, self.has_density_ = self.best_.has_mean_, self.best_.endpoint_, True

    def _sf(self, x: Floats) -> Floats:
        return self.best_._sf(x)

    def _isf(self, p: Floats) -> Floats:
        return self.best_._isf(p)

    def _layer(self, low: float, high: float) -> float:
        return self.best_._layer(low, high)

    def _log_density(self, x: Floats) -> Floats:
        return self.best_._log_density(x)


def _scored(candidate: Severity, sample: Sample) -> tuple[dict[str, object], Severity | None]:
    row: dict[str, object] = {
        "model": repr(candidate),
        "aic": np.nan,
        "bic": np.nan,
        "log_score": np.nan,
        "chosen": False,
    }
    try:
        model = clone(candidate)._fitted(sample)
        if not model.has_density_:
            raise ModelError(
                "has no density for all losses, and likelihoods of densities and probabilities do not compare"
            )
    except ModelError as error:
        return row | {"reason": str(error)}, None
    row |= {"aic": model.aic_, "bic": model.bic_, "reason": ""}
    try:
        row["log_score"] = LogScore(min(10, sample.losses.size)).of(model, sample)
    except ModelError as error:
        row["reason"] = f"log score: {error}"
    return row, model
