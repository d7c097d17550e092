"""Running a calibration as a job: configuration, runs, recalibration. Clock and disk live here and in `cli`."""

from __future__ import annotations

__all__: list[str] = []
