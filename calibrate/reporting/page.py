"""One self-contained HTML page of a calibration, and a summary of it for notebooks."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Hashable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from calibrate.errors import ConfigurationError
from calibrate.reporting import plots, tables, words
from calibrate.reporting.drawing import inline_svg
from calibrate.reporting.evidence import evidence, history_interval

if TYPE_CHECKING:
    from calibrate.calibration import Calibration

__all__ = ["html", "summary_html", "write_html"]

_SHOWN_APART = {"tails", "choices", "dependence"}  # parts of the provenance that have tables of their own
_CHANCES = (0.5, 0.1, 0.05, 0.01, 0.005, 0.001)


def html(calibration: Calibration, previous: Calibration | None = None) -> str:
    """The whole page as text: no script, no network, for screen and paper. With `previous`, also what moved."""
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            **_summary(calibration),
            payers=_payers(calibration),
            figures=_figures(calibration, previous),
            curve=_curve(calibration),
            risk=tables.risk(calibration).reset_index(names="term").to_dict("records"),
            fairness=tables.fairness(calibration).reset_index(names="rule").to_dict("records"),
            moves=[] if previous is None else tables.moves(calibration, previous).reset_index().to_dict("records"),
            counts=[_count(calibration.provenance.get(name)) for name in ("scenarios", "out_of_sample")],
            **evidence(calibration),
            provenance=list(_flat({k: v for k, v in calibration.provenance.items() if k not in _SHOWN_APART})),
        )
    )


def summary_html(calibration: Calibration) -> str:
    """A few lines and the largest payers, for `_repr_html_` in a notebook."""
    return _environment().get_template("summary.html.j2").render(**_summary(calibration), payers=_payers(calibration))


def write_html(calibration: Calibration, path: str | Path, previous: Calibration | None = None) -> Path:
    """Write the page, complete or not at all; an older page at `path` is replaced.

    Raises ConfigurationError where `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder; name the file to write, such as {path / 'report.html'}")
    text = html(calibration, previous)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, side = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(side).chmod(0o644)  # mkstemp makes it private; the page is for the committee
        return Path(side).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(side).unlink()
        raise


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("calibrate.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "money": words.money,
        "percent": words.percent,
        "plain": words.plain,
        "short": words.shorten,
    }
    environment.filters |= {"term": words.term, "candidate": words.candidate}
    environment.tests["known"] = math.isfinite
    return environment


def _summary(calibration: Calibration) -> dict[str, Any]:
    """What the page and the notebook's summary both begin with."""
    name = tables.headline_term(calibration)
    other = str(name).replace("shortfall", "mutualised")
    tails = [
        {"term": one, **calibration.risk.loc[one].to_dict()} for one in (name, other) if one in calibration.risk.index
    ]
    flags = calibration.provenance.get("model_flags", ())
    notes = calibration.provenance.get("risk_notes", ())
    return {
        "calibration": calibration,
        "flags": [*(flags if isinstance(flags, list | tuple) else [flags]), *notes],
        "unit": words.plain(calibration.currency),
        "tail": tails[0] if tails else None,
        "of_history": history_interval(calibration, str(name)),
        "mutualised": tails[1] if len(tails) > 1 and other != name else None,
        "paid": float(calibration.contributions.sum()),
        "reserves": tables.rounded(calibration.reserves.to_frame(), calibration)["amount"].to_dict(),
    }


def _payers(calibration: Calibration) -> dict[str, Any]:
    """The table of members and what it has to say in short."""
    table = tables.rounded(tables.contributions(calibration), calibration)
    loadings = table["loading"].dropna()
    return {
        "rows": table.reset_index(names="member").to_dict("records"),
        "segments": [name for name in table.columns if str(name).startswith("in ")],
        "has": {
            name: bool(table[name].notna().any())
            for name in ("exposure", "expected_loss", "standalone_risk", "reference")
        },
        "shown": plots.SHOWN,
        "rest": float(table["weight"].iloc[plots.SHOWN :].sum()),
        "top": float(table["weight"].iloc[:5].sum()),
        "lowest": (str(loadings.idxmin()), float(loadings.min())) if len(loadings) else None,
        "highest": (str(loadings.idxmax()), float(loadings.max())) if len(loadings) else None,
    }


def _figures(calibration: Calibration, previous: Calibration | None) -> dict[str, Markup]:
    """Inline drawings; their descriptions are the words under which a blind reader finds them."""
    write = words.shorten
    drawn = {
        "payers": (
            plots.contributions(calibration, label=write),
            "Who pays what",
            "Each member's share of contributions, exposure and expected loss; the table at the end has the numbers.",
        ),
        "losses": (
            plots.loss_curve(calibration, label=write),
            "Losses and what is there to pay them",
            "How likely loss, mutualised loss and shortfall are to exceed an amount; the table below has them.",
        ),
    }
    if len(calibration.risk):
        text = "Each risk measure in-sample and out-of-sample with its interval; the table below has the numbers."
        drawn["risk"] = (plots.risk(calibration, label=write), "Risk in-sample and out-of-sample", text)
    if calibration.uncertainty is not None:
        text = "Each number with what simulation and what the history leave open; the table below has the amounts."
        drawn["open"] = (
            plots.uncertainty(calibration, label=write),
            "What simulation and the history leave open",
            text,
        )
    if previous is not None:
        text = "Each member's contribution before and now; the table below has the numbers."
        drawn["moves"] = (plots.moves(calibration, previous, label=write), "What moved", text)
    # our own drawing, in which the SVG writer has escaped every name
    return {name: Markup(inline_svg(figure, name, title, text)) for name, (figure, title, text) in drawn.items()}


def _curve(calibration: Calibration) -> list[dict[Hashable, Any]]:
    """Losses at round chances: the smallest loss on the curve that is exceeded at most so often."""
    curve = calibration.loss_curve.sort_index(ascending=False)
    rows: list[dict[Hashable, Any]] = []
    for chance in _CHANCES:
        rarer = curve[curve.index <= chance * (1 + 1e-9)]
        if len(rarer) and math.isfinite(rarer.index[0]):
            rows.append({"chance": chance, "mutualised": None, **pd.Series(rarer.iloc[0]).to_dict()})
    return rows


def _count(scenarios: Any) -> str | None:
    """Number of scenarios, where the provenance knows it."""
    count = scenarios.get("count") if isinstance(scenarios, Mapping) else None
    return f"{count:,}" if isinstance(count, int) else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested provenance as lines `a, b: value`."""
    for key, value in values.items():
        name = f"{prefix}{words.plain(key)}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}, ")
        elif isinstance(value, list | tuple):
            yield name, "; ".join(words.plain(item) for item in value) or words.DASH
        else:
            yield name, words.DASH if value is None else words.plain(value)
