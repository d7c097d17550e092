"""When a pool is due again, and the line with which a machine looks whether it is."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from calibrate.operations.config import Configuration, Schedule
from calibrate.operations.store import RunStore

__all__ = ["cron_line", "next_due", "when_due"]

OFTEN = "15 6 * * *"  # every morning: more often than any pool is due


def next_due(schedule: Schedule, last: datetime) -> datetime:
    """The start of the calendar period (UTC) after the one in which the last run was made.

    >>> next_due(Schedule(every="quarter"), datetime(2026, 11, 22, 8, tzinfo=UTC)).date()
    datetime.date(2027, 1, 1)
    """
    day = last.astimezone(UTC).date()
    months = {"month": 1, "quarter": 3, "year": 12}.get(schedule.every)
    if months is None:
        start = day if schedule.every == "day" else day - timedelta(days=day.weekday())
        first = start + timedelta(days=1 if schedule.every == "day" else 7)
    else:
        ordinal = (day.year * 12 + day.month - 1) // months * months + months
        first = date(ordinal // 12, ordinal % 12 + 1, 1)
    return datetime(first.year, first.month, first.day, tzinfo=UTC)


def when_due(configuration: Configuration, now: datetime) -> str:
    """Whether a recalibration is due, since when or from when on, in a sentence."""
    newest = RunStore(configuration.runs).newest()
    if newest is None:
        return f"Due now: there is no run in {configuration.runs}."
    made = f"the newest run, {newest.name}, is of {newest.created:%Y-%m-%d %H:%M} UTC"
    if configuration.schedule is None:
        return f"Due when data, configuration or code have changed, as [schedule] is left out; {made}."
    due = next_due(configuration.schedule, newest.created)
    return f"{'Due since' if due <= now else 'Not due before'} {due:%Y-%m-%d %H:%M} UTC; {made}."


def cron_line(path: Path) -> str:
    """For a configuration in a file: cron looks every morning whether it is due.

    >>> cron_line(Path("/srv/a pool/pool.toml"))[:32]
    "15 6 * * *  cd '/srv/a pool' && "
    """
    folder, python = (shlex.quote(str(one)) for one in (path.absolute().parent, Path(sys.executable)))
    return f"{OFTEN}  cd {folder} && {python} -m calibrate recalibrate {shlex.quote(path.name)} >> recalibrate.log 2>&1"
