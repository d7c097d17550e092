"""Rows of rules that say how much something is: found among the inequalities, and those that follow from the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import qr

from calibrate.program.cones import Cone

__all__ = ["independent", "paired"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

FOLLOWS = 1e-12  # of a row: less of it than this is not said by the others


def paired(
    G: Floats, h: Floats, E: Floats, f: Floats, cone: Cone, room: Floats
) -> tuple[Floats, Floats, Floats, Floats, Cone, Floats, Floats]:
    """Opposite rows `g.v <= a, -g.v <= -a` have no interior: each such pair becomes one equality."""
    n = cone.orthant
    scale = np.abs(G[:n]).max(axis=1, initial=0.0)
    rows = np.column_stack([G[:n], h[:n]]) + 0.0  # no zero has a sign
    keys: dict[bytes, list[int]] = {}  # the same row may be there twice: shares of two members are each other's
    pairs: list[tuple[int, int]] = []
    for i, (row, opposite) in enumerate(zip(rows, 0.0 - rows, strict=True)):
        if scale[i] > 0 and keys.get(opposite.tobytes()):
            pairs.append((keys[opposite.tobytes()].pop(0), i))
        else:
            keys.setdefault(row.tobytes(), []).append(i)
    empty = [i for i in range(n) if scale[i] == 0 and h[i] >= 0]
    gone = np.array(sorted({i for pair in pairs for i in pair} | set(empty)), dtype=int)
    kept = np.setdiff1d(np.arange(len(G)), gone)
    first, second = [i for i, _ in pairs], [j for _, j in pairs]
    cone = Cone(n - len(gone), cone.sizes)
    equal_room = np.vstack([np.zeros((len(E), room.shape[1])), np.where(room[first] != 0, room[first], -room[second])])
    return G[kept], h[kept], np.vstack([E, G[first]]), np.append(f, h[first]), cone, room[kept], equal_room


def independent(E: Floats, f: Floats) -> tuple[Ints, Ints]:
    """Positions of equalities `E v = f` of which none follows from the others, and of those that do.

    Shares that sum to one say the last member's share twice. The multipliers of such rows are not bounded, and beside
    a giant their last digits are all that a dwarf is about. By QR with column pivoting of the rows, each of length one.
    """
    rows = np.column_stack([E, f])
    length = np.linalg.norm(rows, axis=1)
    if len(rows) < 2 or not length.all():
        return np.arange(len(rows)), np.arange(0)
    triangle, order = qr((rows / length[:, None]).T, mode="r", pivoting=True)
    rank = int(np.count_nonzero(np.abs(np.diag(triangle)) > FOLLOWS))
    return np.sort(order[:rank]), np.sort(order[rank:])
