"""The scenarios as a file that needs no library to be read: sparse rows in the layout of `scipy.sparse.save_npz`.

    indices, indptr, format, shape, data    the positive losses by scenario
    probabilities                           one for each scenario
    collateral                              scenarios x members, flat; only where there is any

Uncompressed, without dates: the same scenarios are the same bytes.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["NAME", "ScenarioFile", "StoredScenarios", "WrittenScenarios"]

NAME = "scenarios.npz"
BLOCK = 4_000_000  # losses looked at together

Floats = npt.NDArray[np.float64]


class ScenarioFile(Protocol):
    """Something that can be written as `scenarios.npz`."""

    @property
    def sha256(self) -> str:
        """Hash of what `write` writes."""

    def write(self, file: BinaryIO) -> None:
        """Write the whole content."""


@dataclass(frozen=True, eq=False)
class StoredScenarios:
    """A file that is there already."""

    path: Path
    sha256: str

    def write(self, file: BinaryIO) -> None:
        """Copy it."""
        with self.path.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)


@dataclass(frozen=True, eq=False)
class WrittenScenarios:
    """Scenarios in memory: `losses` (scenarios, columns), `probabilities`, `collateral` (scenarios, members)."""

    losses: Floats
    probabilities: Floats
    collateral: Floats | None

    @cached_property
    def sha256(self) -> str:
        """Hash of the file, which is made for it and not kept."""
        sha = hashlib.sha256()
        self._archive(sha.update)
        return sha.hexdigest()

    def write(self, file: BinaryIO) -> None:
        """Block by block: no dense copy is made."""
        self._archive(file.write)

    def _archive(self, out: Callable[[bytes], Any]) -> None:
        counts = np.concatenate([np.count_nonzero(block, axis=1) for block in self._blocks()])
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype("<i8")
        parts: dict[str, tuple[str, tuple[int, ...], Iterator[npt.NDArray[Any]]]] = {
            "indices": ("<i4", (int(indptr[-1]),), (np.nonzero(block)[1] for block in self._blocks())),
            "indptr": ("<i8", (len(indptr),), iter([indptr])),
            "format": ("|S3", (), iter([np.array(b"csr")])),
            "shape": ("<i8", (2,), iter([np.array(self.losses.shape)])),
            "data": ("<f8", (int(indptr[-1]),), (block[block > 0] for block in self._blocks())),
            "probabilities": ("<f8", self.probabilities.shape, iter([self.probabilities])),
        }
        if self.collateral is not None:
            parts["collateral"] = ("<f8", (self.collateral.size,), iter(self.collateral))
        with zipfile.ZipFile(_Stream(out), "w", zipfile.ZIP_STORED, allowZip64=True) as archive:  # type: ignore[call-overload]
            for name, (kind, shape, arrays) in parts.items():
                entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                with archive.open(entry, "w", force_zip64=True) as member:
                    header = {"descr": kind, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(member, header)
                    for array in arrays:
                        member.write(np.ascontiguousarray(array, dtype=kind).tobytes())

    def _blocks(self) -> Iterator[Floats]:
        rows = max(1, BLOCK // self.losses.shape[1])
        return (self.losses[start : start + rows] for start in range(0, len(self.losses), rows))


class _Stream:
    """A file that can only be written to: its bytes do not depend on where they go."""

    def __init__(self, out: Callable[[bytes], Any]) -> None:
        self.out = out

    def write(self, content: bytes) -> int:
        self.out(content)
        return len(content)

    def flush(self) -> None:
        """Nothing waits here."""
