"""Names of members and segments, and the labels by which what stands beside losses is put in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import pandas as pd

from calibrate.errors import DataError

__all__ = ["labelled", "named", "numbered", "of_columns", "of_rows", "of_table", "unwritable"]

SHOWN = 3  # labels in a sentence


def labelled(columns: pd.Index[Any], members: Any, segments: Any) -> tuple[Any, Any]:
    """Members and segments as the columns of a frame name them; what is given beside must say the same."""
    if segments is not None and columns.nlevels == 1:
        return members, segments  # columns are cells of a name of their own
    if columns.nlevels > 2:
        raise DataError(f"losses have columns of {columns.nlevels} levels, expected members, or (member, segment)")
    told = [list(dict.fromkeys(columns.get_level_values(k).map(str))) for k in range(columns.nlevels)]
    cells = list(product(*told))
    if cells != [tuple(map(str, one if isinstance(one, tuple) else (one,))) for one in columns]:
        raise DataError("losses: the columns must be members, each once, or all segments of each member side by side")
    for what, given, found in (("members", members, told[0]), ("segments", segments, told[-1])):
        if given is not None and list(named(given, what)) != found:
            raise DataError(
                f"losses are a frame whose columns name the {what} {', '.join(found[:5])}, and {what} says "
                f"{', '.join(map(str, list(given)[:5]))}: put its columns in that order, or leave {what} out"
            )
    return told[0], told[1] if columns.nlevels == 2 else segments


def named(names: Sequence[object], what: str) -> tuple[str, ...]:
    """Names as text; refuses a set, which has no order, and names that stand twice or that no file can keep."""
    if not isinstance(names, Iterable):
        raise DataError(f"{what} are {names!r}, expected a list of names")
    if isinstance(names, set | frozenset):
        raise DataError(f"{what} are a set, which has no order, expected a list in the order of the columns")
    texts = tuple(str(name) for name in names)
    faults = unwritable(texts, what)
    if faults:
        raise DataError(faults)
    twice = sorted({name for name in texts if texts.count(name) > 1})
    if twice:
        raise DataError(f"{what} must be unique, but {', '.join(map(repr, twice))} occur more than once")
    if not texts:
        raise DataError(f"{what} must not be empty")
    return texts


def numbered(n: int) -> tuple[str, ...]:
    """Names of members whom nobody named."""
    return tuple(f"member {i + 1}" for i in range(n))


def unwritable(names: Iterable[str], what: str) -> list[str]:
    """A sentence for each name that has no bytes, as text that was read in a wrong encoding may hold."""
    told = "has half a character (a lone surrogate), which no file can keep; read the names as UTF-8"
    return [f"{what}: {name!r} {told}" for name in names if name.encode(errors="ignore").decode() != name]


def of_rows(values: Any, losses: object, what: str, whose: str = "scenarios of the losses") -> Any:
    """A frame or Series with its rows in the order of the losses' labels, where the losses are a frame.

    >>> likely = pd.Series([0.9, 0.1], index=["calm", "storm"])
    >>> of_rows(likely, pd.DataFrame([[5.0], [1.0]], index=["storm", "calm"]), "probabilities").to_list()
    [0.1, 0.9]
    """
    if not (isinstance(values, pd.DataFrame | pd.Series) and isinstance(losses, pd.DataFrame)):
        return values
    own, wanted = (
        pd.Index([_plain(one) for one in side.index], dtype=object, tupleize_cols=False) for side in (values, losses)
    )
    counted = _counted(values.index, losses.index)
    return values.iloc[_places(own, wanted, counted, f"{what}: the rows", whose)]


def of_columns(values: Any, members: Iterable[Any] | None, what: str, whose: str = "members of the losses") -> Any:
    """A frame with its columns in the order of the members, where those have labels."""
    if not isinstance(values, pd.DataFrame) or members is None:
        return values
    counted = _counted(values.columns, members)
    own, wanted = (
        pd.Index([_text(one) for one in side], dtype=object, tupleize_cols=False) for side in (values.columns, members)
    )
    return values.iloc[:, _places(own, wanted, counted, f"{what}: the columns", whose)]


def of_table(values: Any, table: Any, what: str) -> Any:
    """A frame or Series in the order of a table's rows and columns, where both have labels; what is one is spread.

    A Series has one entry for each column, beside one column one for each row.

    >>> of_table(pd.Series({"B": 2.0, "A": 1.0}), pd.DataFrame({"A": [5.0], "B": [6.0]}), "exposure").to_numpy()
    array([[1., 2.]])
    """
    if not (isinstance(values, pd.DataFrame | pd.Series) and isinstance(table, pd.DataFrame | pd.Series)):
        return values
    beside = table.to_frame() if isinstance(table, pd.Series) else table
    if isinstance(values, pd.Series):
        values = values.to_frame() if beside.shape[1] == 1 else values.to_frame().T
    if len(values) > 1:
        values = of_rows(values, beside, what, "rows of the data")
    return of_columns(values, beside.columns, what, "columns of the data") if values.shape[1] > 1 else values


def _counted(own: pd.Index[Any], wanted: Any) -> tuple[bool, bool]:
    """Whether labels are those that pandas gives to who has none, from 0 on; and whether either side is a range."""
    ranges = isinstance(own, pd.RangeIndex), isinstance(wanted, pd.RangeIndex)
    return ranges[0] and own.equals(pd.RangeIndex(len(own))), any(ranges)


def _plain(label: Any) -> Any:
    """A label; of an index of one level its only name."""
    return label[0] if isinstance(label, tuple) and len(label) == 1 else label


def _text(label: Any) -> str:
    """A label as text; member 1 is "1", in a pair with a segment too."""
    plain = _plain(label)
    return str(tuple(map(str, plain)) if isinstance(plain, tuple) else plain)


def _places(own: pd.Index[Any], wanted: pd.Index[Any], counted: tuple[bool, bool], what: str, whose: str) -> Any:
    """Where the wanted labels stand; else DataError, or all in their order where a side is only `counted` through.

    Numbers that pandas gave to the rows of what is put beside losses are nobody's labels, even where losses have them.
    """
    if counted[0] or own.equals(wanted):
        return slice(None)
    unknown, missing = list(own[~own.isin(wanted)]), list(wanted[~wanted.isin(own)])
    twice = list(dict.fromkeys([*own[own.duplicated()], *wanted[wanted.duplicated()]]))
    if not (unknown or missing or twice):
        return own.get_indexer(wanted)
    if counted[1]:
        return slice(None)
    faults = (("name unknown", unknown), ("leave out", missing), ("do not tell apart", twice))
    told = ", ".join(f"{fault} {_listed(labels)}" for fault, labels in faults if labels)
    raise DataError(f"{what} {told}; label them as the {whose} are, or give an array, which is taken in its order")


def _listed(labels: list[Any]) -> str:
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return ", ".join(repr(str(label)) for label in labels[:SHOWN]) + more
