"""Again next month: whether a recalibration is due, and what moved by it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from calibrate.calibration import Calibration
from calibrate.errors import ConfigurationError, IntegrityError
from calibrate.operations.config import Configuration
from calibrate.operations.job import carry_out
from calibrate.operations.schedule import next_due
from calibrate.operations.sources import read_history
from calibrate.operations.store import Run, RunStore, run_name
from calibrate.reporting import tables

__all__ = ["Recalibration", "moves", "recalibrate"]

logger = logging.getLogger(__name__)

UNMOVED = 1e-4  # change of a contribution that is not worth a word


@dataclass(frozen=True)
class Recalibration:
    """The run that holds now, the one before it, whether work was done, and why (in one sentence)."""

    run: Run
    previous: Run | None
    computed: bool
    reason: str


def recalibrate(configuration: Configuration, now: datetime) -> Recalibration:
    """Calibrate again if it is due, with the newest run as reference. Safe to run twice, at once, or to kill.

    Due is a pool without a run, or whose newest run is of an earlier `[schedule] every`; without a schedule, one whose
    data, configuration or code have changed.
    """
    store = RunStore(configuration.runs)
    with store.locked():
        newest = store.newest()
        if newest is not None:
            _check_same(newest, configuration)
        if newest is not None and newest.created > now:
            logger.warning(
                "the newest run, %s, says that it was made at %s, later than now, %s: the clock is wrong, or was; "
                "remove that run if it should not count",
                *(newest.name, f"{newest.created:%Y-%m-%d %H:%M}", f"{now:%Y-%m-%d %H:%M}"),
            )
        if newest is not None and configuration.schedule is not None:
            due = next_due(configuration.schedule, newest.created)
            if now < due:
                return Recalibration(newest, _before(store, newest), False, f"not due before {due:%Y-%m-%d %H:%M} UTC")
        logger.info("reading the losses")
        history = read_history(configuration)
        asked_by_change = configuration.schedule is None
        if newest and asked_by_change and run_name(history, configuration, _previous_name(newest)) == newest.name:
            unchanged = "nothing has changed: data, configuration and code are the same"
            return Recalibration(newest, _before(store, newest), False, unchanged)
        outcome = carry_out(configuration, history, store, newest, now)
    if newest is None:
        return Recalibration(outcome.run, None, outcome.computed, "first run")
    reason = f"recalibrated from run {newest.name} of {newest.created:%Y-%m-%d}"
    if newest.calibration.provenance["history"]["sha256"] == history.digest:
        reason += f", from the same losses: nothing is new in the data, which end with {history.periods[-1]}"
    return Recalibration(outcome.run, newest, outcome.computed, reason)


def _check_same(newest: Run, configuration: Configuration) -> None:
    """Refuse a folder whose newest run is of another configuration: it may be another pool's."""
    name = str(newest.calibration.provenance["configuration"]["name"])
    if name != configuration.name:
        raise ConfigurationError(
            f"the newest run in {configuration.runs}, {newest.name}, is of the configuration {name!r}, this one is "
            f"{configuration.name!r}: name a folder of its own ([run] folder), or, where this one succeeds it, fit it "
            "once, and recalibrate from there"
        )


def moves(recalibration: Recalibration) -> pd.DataFrame:
    """What moved, by member, largest move first, and `why` it may; the columns of `reporting.tables.moves`."""
    if recalibration.previous is None:
        return pd.DataFrame(columns=["previous", "contribution", "status", "change", "change_share", "why"])
    now, before = recalibration.run.calibration, recalibration.previous.calibration
    table = tables.moves(now, before)
    losses = now.members["expected_loss"] / before.members["expected_loss"] - 1
    limits = _turnover_limits(now)
    table["why"] = [
        _why(str(row["status"]), row["change_share"], losses.get(member), limits) for member, row in table.iterrows()
    ]
    return table


def _turnover_limits(calibration: Calibration) -> list[str]:
    """The rules of the configuration that limit moves, in words."""
    rules = calibration.provenance["configuration"]["rules"] or []
    words = {"member": "{:.4g} % a member", "total": "{:.4g} % in all"}
    return [
        f"Turnover allows {' and '.join(text.format(100 * rule[key]) for key, text in words.items() if key in rule)}"
        for rule in rules
        if rule.get("rule") == "Turnover"
    ]


def _why(status: str, change: float, loss_moved: float | None, limits: list[str]) -> str:
    if status == "new":
        return "new member: no previous contribution"
    if status == "left":
        return "left the pool"
    if abs(change) < UNMOVED:
        return "unmoved"
    moved = "" if loss_moved is None or pd.isna(loss_moved) else f"expected loss {loss_moved:+.1%}; "
    return moved + (" and ".join(limits) if limits else "no Turnover rule limits it")


def _before(store: RunStore, run: Run) -> Run | None:
    """The run that a run was recalibrated from; None too where it is damaged, as nothing rests on it any more."""
    name = _previous_name(run)
    try:
        return None if name is None else store.find(name)
    except IntegrityError:
        return None


def _previous_name(run: Run) -> str | None:
    name = run.calibration.provenance.get("previous")
    return None if name is None else str(name)
