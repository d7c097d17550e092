"""The frozen answer: its reading, its equality, and how it lies on disk."""

import copy
import dataclasses
import gzip
import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calibrate import Calibration, Scenarios, fairness
from calibrate.errors import IntegrityError
from calibrate.program import CostOfCapital, CVaR, OwnContribution, PoolProblem, PoolReserve, SegmentReserve, Waterfall

HOSTILE = [
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "+1",
    "-2",
    "@sum",
    "'quoted",
    "''twice",
    "a,b",
    'say "hi"',
    "two\nlines",
    "carriage\rreturn",
    "\ttab",
    "💥 Ünïcode 日本",
    " leading and trailing ",
    "007",
    "1e5",
    "nan",
    "NA",
    "None",
    "True",
    "",
]


def calibrated(members=("A", "B", "C"), segments=("all",), unit=1.0, seed=0, rules=()):
    rng = np.random.default_rng(seed)
    losses = rng.lognormal(0, 1, (30, len(members) * len(segments))) * unit
    pool = Scenarios(losses, members, segments)
    own = (OwnContribution(), *([SegmentReserve()] if len(segments) > 1 else []), PoolReserve())
    terms = CostOfCapital(0.05, 0.1) + 0.3 * CVaR(0.9, of="mutualised")
    return PoolProblem(pool, Waterfall(own), terms, rules).solve()


@pytest.fixture(scope="module")
def plain():
    return calibrated(rules=[fairness.ActuarialFairness(0.5), fairness.ShareCap(0.9)])


@pytest.fixture(scope="module")
def segmented():
    return calibrated(segments=("exploit", "=oracle"))


# --- reading --------------------------------------------------------------------------------------------------------


def test_weights_sum_to_one_and_follow_contributions(plain, segmented):
    for calibration in (plain, segmented):
        assert calibration.weights.sum() == pytest.approx(1, abs=1e-12)
        paid = calibration.contributions.groupby(level=0, sort=False).sum()
        np.testing.assert_allclose(calibration.weights, paid / paid.sum(), rtol=1e-15)
        assert list(calibration.weights.index) == ["A", "B", "C"]
        assert calibration.total == pytest.approx(calibration.contributions.sum() + calibration.reserves.sum())


def test_nobody_pays_nobody_weighs(plain):
    free = dataclasses.replace(plain, contributions=plain.contributions * 0)
    assert (free.weights == 0).all()


def test_the_gap_is_relative(plain):
    moved = dataclasses.replace(plain, objective=200.0, lower_bound=198.0)
    assert moved.gap == pytest.approx(0.01)
    assert dataclasses.replace(plain, objective=0.0, lower_bound=0.0).gap == 0.0


def test_it_is_frozen(plain):
    with pytest.raises(dataclasses.FrozenInstanceError):
        plain.objective = 1.0
    with pytest.raises(TypeError):
        plain.provenance["seed"] = 3
    given = plain.contributions.copy()
    copied = dataclasses.replace(plain, contributions=given)
    given.iloc[0] = 1e9
    assert copied == plain


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy, copy.copy])
def test_a_copy_is_equal_and_frozen(copied, plain, segmented):
    for one in (plain, segmented):
        again = copied(one)
        assert again == one and again is not one
        assert hash(again) == hash(one)
        with pytest.raises(dataclasses.FrozenInstanceError):
            again.objective = 1.0
        with pytest.raises(TypeError):
            again.provenance["seed"] = 3


def test_it_says_what_it_is(plain):
    assert repr(plain).startswith("<Calibration: 3 members, contributions ")
    assert "USD" in repr(plain)


def test_equality_is_of_all_numbers_and_texts(plain):
    assert plain == dataclasses.replace(plain)
    assert hash(plain) == hash(dataclasses.replace(plain))
    assert plain != dataclasses.replace(plain, objective=np.nextafter(plain.objective, np.inf))
    assert plain != dataclasses.replace(plain, currency="EUR")
    assert plain != plain.with_provenance({"seed": 1})
    assert plain != "a text"
    nudged = plain.contributions.copy()
    nudged.iloc[1] = np.nextafter(nudged.iloc[1], 0)
    assert plain != dataclasses.replace(plain, contributions=nudged)


# --- there and back -------------------------------------------------------------------------------------------------


def there_and_back(calibration, folder):
    loaded = Calibration.load(calibration.save(folder / "run"))
    assert loaded == calibration
    assert calibration == loaded
    for name in ("contributions", "reserves"):
        pd.testing.assert_series_equal(getattr(loaded, name), getattr(calibration, name), check_index_type=False)
    for name in ("risk", "fairness", "members", "loss_curve"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(calibration, name), check_index_type=False)
    assert loaded.objective == calibration.objective and loaded.lower_bound == calibration.lower_bound
    return loaded


def test_saved_and_loaded_is_equal(plain, segmented, tmp_path):
    there_and_back(plain, tmp_path / "plain")
    loaded = there_and_back(segmented, tmp_path / "segmented")
    assert loaded.contributions.index.names == ["member", "segment"]
    assert set(loaded.reserves.index) == {"exploit", "=oracle", "pool"}


def test_no_rules_and_no_interval(tmp_path):
    loaded = there_and_back(calibrated(members=("only",)), tmp_path)
    assert loaded.fairness.empty
    assert loaded.risk["out_of_sample"].isna().all()


@pytest.mark.parametrize("unit", [1e-18, 1e24, 1 / 3])
def test_every_digit_survives(unit, tmp_path):
    there_and_back(calibrated(unit=unit), tmp_path)


def test_hostile_names_survive(tmp_path):
    calibration = calibrated(members=HOSTILE)
    loaded = there_and_back(calibration, tmp_path)
    assert list(loaded.members.index) == HOSTILE


@pytest.mark.parametrize(
    "members", [("1", "2"), ("007", "7"), ("1e5", "100000"), ("1.0", "1.00"), ("True", "False"), ("2024-01-01", "x")]
)
def test_names_that_look_like_numbers_stay_names(members, tmp_path):
    loaded = there_and_back(calibrated(members=members), tmp_path)
    assert list(loaded.contributions.index) == list(members)
    assert list(loaded.weights.index) == list(members)


def test_a_certificate_travels_along(plain, tmp_path):
    carried = dataclasses.replace(plain, certificate={"cuts": [[1, 2], [3, 4]], "scale": 10**30})
    assert there_and_back(carried, tmp_path).certificate == {"cuts": [[1, 2], [3, 4]], "scale": 10**30}


def test_provenance_of_numpy_numbers_and_dates_travels_or_is_refused_when_saved(plain, tmp_path):
    kept = plain.with_provenance({"seed": 7, "note": "ü", "nested": {"a": [1, 2.5, None, True]}, "tuple": (1, 2)})
    assert Calibration.load(kept.save(tmp_path / "run")).provenance["nested"] == {"a": [1, 2.5, None, True]}
    counted = plain.with_provenance({"seed": np.int64(7), "sure": np.True_, "rate": np.float32(0.5)}).save(
        tmp_path / "np"
    )
    assert [Calibration.load(counted).provenance[name] for name in ("seed", "sure", "rate")] == [7, True, 0.5]


def test_files_are_text_and_no_formula_reaches_a_spreadsheet(tmp_path):
    folder = calibrated(members=HOSTILE).save(tmp_path / "run")
    names = {file.name for file in folder.iterdir()}
    assert names == {
        "SHA256SUMS",
        "calibration.json",
        "certificate.json",
        "scenarios.npz",
        *(f"{table}.csv" for table in ("contributions", "reserves", "risk", "fairness", "members", "loss_curve")),
    }
    frame = pd.read_csv(folder / "contributions.csv", keep_default_na=False, dtype=str)
    assert not frame["member"].str.match(r"[=+\-@\t\r]").any()
    json.loads((folder / "calibration.json").read_text(encoding="utf-8"))


def test_the_seal_is_that_of_sha256sum(plain, tmp_path):
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    folder = plain.save(tmp_path / "run")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_answer_is_the_same_bytes(plain, tmp_path):
    one, two = plain.save(tmp_path / "one"), plain.save(tmp_path / "two")
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes()


# --- damage ---------------------------------------------------------------------------------------------------------

FILES = [
    "calibration.json",
    "contributions.csv",
    "reserves.csv",
    "risk.csv",
    "fairness.csv",
    "members.csv",
    "loss_curve.csv",
]


@pytest.fixture
def saved(plain, tmp_path):
    return plain.save(tmp_path / "run")


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_refused_by_name(name, saved):
    file = saved / name
    text = file.read_bytes()
    position = next(k for k in range(len(text) // 2, len(text)) if chr(text[k]).isdigit())
    file.write_bytes(text[:position] + (b"1" if text[position : position + 1] != b"1" else b"2") + text[position + 1 :])
    with pytest.raises(IntegrityError, match=f"{name} was altered or truncated after it was saved.* restore it"):
        Calibration.load(saved)


def test_a_file_that_is_no_text_is_refused_by_name(saved):
    file = saved / "contributions.csv"
    before, packed = hashlib.sha256(file.read_bytes()).hexdigest(), gzip.compress(file.read_bytes())
    file.write_bytes(packed)
    seal = saved / "SHA256SUMS"
    seal.write_text(seal.read_text().replace(before, hashlib.sha256(packed).hexdigest()))
    with pytest.raises(IntegrityError, match=r"contributions\.csv does not read as part of a calibration"):
        Calibration.load(saved)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused_by_name(name, keep, saved):
    file = saved / name
    text = file.read_bytes()
    file.write_bytes(text[: int(keep * len(text))])
    with pytest.raises(IntegrityError, match=f"{name} was altered or truncated"):
        Calibration.load(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(name, saved):
    (saved / name).unlink()
    with pytest.raises(IntegrityError, match=f"{name} is missing; restore it"):
        Calibration.load(saved)


@pytest.mark.parametrize(
    ("seal", "words"),
    [
        (b"", "does not list calibration.json"),
        (b"no seal at all\n", "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
    ],
)
def test_a_damaged_seal_is_refused(seal, words, saved):
    (saved / "SHA256SUMS").write_bytes(seal)
    with pytest.raises(IntegrityError, match=words):
        Calibration.load(saved)


def test_a_truncated_seal_is_refused(saved):
    seal = saved / "SHA256SUMS"
    whole = seal.read_text()
    for keep in range(0, len(whole) - 1, 7):
        seal.write_text(whole[:keep])
        with pytest.raises(IntegrityError):
            Calibration.load(saved)


def test_a_seal_that_points_elsewhere_is_refused(saved, tmp_path):
    (tmp_path / "secret.txt").write_text("x")
    with (saved / "SHA256SUMS").open("a") as seal:
        seal.write(f"{'0' * 64}  ../secret.txt\n")
    with pytest.raises(IntegrityError, match=r"secret\.txt"):
        Calibration.load(saved)


def reseal(folder):
    import hashlib

    files = sorted(file for file in folder.iterdir() if file.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def test_another_schema_is_refused(saved):
    file = saved / "calibration.json"
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 99'))
    reseal(saved)
    with pytest.raises(IntegrityError, match="schema is 99, this version reads schema 1"):
        Calibration.load(saved)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("calibration.json", lambda text: text[: len(text) // 2]),
        ("calibration.json", lambda text: "[]"),
        ("calibration.json", lambda text: text.replace('"objective"', '"objectionable"')),
        ("contributions.csv", lambda text: text.replace("contribution", "something")),
        ("contributions.csv", lambda text: ""),
        ("risk.csv", lambda text: text.replace("nan", "rubbish")),
        ("fairness.csv", lambda text: text.replace("binding", "bound")),
    ],
)
def test_damage_under_a_valid_seal_is_still_told_in_words(name, damage, saved):
    """Whoever can write a file can write its hash: nonsense must be an error of ours, not of a parser."""
    file = saved / name
    file.write_text(damage(file.read_text()))
    reseal(saved)
    with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
        Calibration.load(saved)


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("fairness.csv", "gap,", "gop,", "has no column 'gap', only"),
        ("risk.csv", ",upper", ",upright", "has no column 'upper'"),
        ("members.csv", "expected_loss", "hoped_loss", "has no column 'expected_loss'"),
        ("loss_curve.csv", ",loss", ",boss", "has no column 'loss'"),
        ("contributions.csv", r"A,.*", "A,nan", "contribution of 'A' is nan, expected a finite number >= 0"),
        ("contributions.csv", r"B,.*", "B,-1", "contribution of 'B' is -1.0, expected a finite number >= 0"),
        ("contributions.csv", r"C,.*", "D,1", "and members.csv do not name the same members"),
        ("reserves.csv", r"pool,.*", "pool,inf", "amount of 'pool' is inf, expected a finite number >= 0"),
        ("risk.csv", r"shortfall,[\d.]*", "shortfall,inf", "in_sample of .* is inf, expected a finite number;"),
        ("calibration.json", r'"objective": [\d.]*', '"objective": NaN', "objective is nan, expected a finite number"),
        ("calibration.json", r'"lower_bound": [\d.]*', '"lower_bound": 1e400', "lower_bound is inf"),
    ],
)
def test_wrong_columns_and_numbers_under_a_valid_seal_are_told_by_name(name, old, new, words, saved):
    file = saved / name
    text, times = re.subn(old, new, file.read_text(), count=1)
    assert times == 1
    file.write_text(text)
    reseal(saved)
    with pytest.raises(IntegrityError, match=rf"{re.escape(name)}.*{words}.*or calibrate again$"):
        Calibration.load(saved)


@pytest.mark.parametrize("kind", ["nothing", "folder", "file"])
def test_what_is_no_calibration_is_refused(kind, tmp_path):
    path = tmp_path / "run"
    if kind == "folder":
        path.mkdir()
    if kind == "file":
        path.write_text("hello")
    with pytest.raises(IntegrityError, match=r"is not a saved calibration.* pass the folder that `save` wrote"):
        Calibration.load(path)


# --- writing --------------------------------------------------------------------------------------------------------


def test_saving_again_replaces_the_whole(plain, segmented, tmp_path):
    segmented.save(tmp_path / "run")
    plain.save(tmp_path / "run")
    assert Calibration.load(tmp_path / "run") == plain
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_calibration_is_not_overwritten(kind, plain, tmp_path):
    path = tmp_path / "precious"
    if kind == "folder":
        path.mkdir()
        (path / "notes.txt").write_text("keep me")
    else:
        path.write_text("keep me")
    with pytest.raises(IntegrityError, match="exists and is not a saved calibration; name another path or remove it"):
        plain.save(path)
    assert (path / "notes.txt" if kind == "folder" else path).read_text() == "keep me"


@pytest.mark.parametrize("before", ["nothing", "an older run"])
@pytest.mark.parametrize("dies_at", [0, 3, 7])
def test_a_save_that_dies_leaves_the_old_or_nothing(before, dies_at, plain, segmented, tmp_path, monkeypatch):
    path = tmp_path / "run"
    if before != "nothing":
        segmented.save(path)
    written = []

    def failing(descriptor):
        if len(written) == dies_at:
            raise OSError("disk full")
        written.append(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="disk full"):
        plain.save(path)
    monkeypatch.undo()
    left = [one.name for one in tmp_path.iterdir()]
    if before == "nothing":
        assert left == []
    else:
        assert left == ["run"]
        assert Calibration.load(path) == segmented


def test_a_killed_replacement_leaves_one_whole_calibration(plain, segmented, tmp_path, monkeypatch):
    """Between the two renames the old run is set aside: whatever dies there, a whole run is still to be found."""
    path = tmp_path / "run"
    segmented.save(path)
    real, calls = Path.replace, []

    def failing(self, target):
        calls.append(self)
        if len(calls) == 2:
            raise OSError("power failure")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="power failure"):
        plain.save(path)
    monkeypatch.undo()
    whole = [Calibration.load(one) for one in tmp_path.iterdir() if (one / "SHA256SUMS").is_file()]
    assert segmented in whole


def test_parents_are_made_and_the_path_is_returned(plain, tmp_path):
    path = tmp_path / "deep" / "down" / "run"
    assert plain.save(str(path)) == path
    assert Calibration.load(str(path)) == plain


def test_uncertainty_and_choices_are_saved_with_the_answer(tmp_path):
    calibration = calibrated()
    index = pd.MultiIndex.from_tuples(
        [("contribution", "=A"), ("risk", "CVaR 99% of shortfall")], names=["number", "of"]
    )
    columns = ["estimate", "history_error", "lower", "upper", "monte_carlo_error", "failed"]
    table = pd.DataFrame([[1e24, 0.1, 0.5, 2e24, np.nan, 3], [2.0, 1e-18, 1.0, 3.0, 0.1, 3]], index, columns)
    choices = pd.DataFrame(
        {"aic": [1.5, np.nan], "chosen": [True, False], "note": ["", 'too few, "says" it']},
        index=pd.MultiIndex.from_tuples(
            [("severity", "all", "A()"), ("severity", "all", "B()")], names=["part", "segment", "candidate"]
        ),
    )
    richer = calibration.with_uncertainty(table).with_choices(choices)
    assert calibration.uncertainty is None and richer != calibration
    again = Calibration.load(richer.save(tmp_path / "saved"))
    assert again == richer
    pd.testing.assert_frame_equal(again.uncertainty, table.astype(float))
    assert again.provenance["choices"][1]["note"] == 'too few, "says" it'
    assert "uncertainty.csv" in (tmp_path / "saved" / "SHA256SUMS").read_text()
    (tmp_path / "saved" / "uncertainty.csv").unlink()
    with pytest.raises(IntegrityError, match=r"uncertainty\.csv is missing; restore it"):
        Calibration.load(tmp_path / "saved")


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.int8])
def test_decimals_of_numpy_are_numbers(kind, plain):
    """Powers of ten of a numpy integer wrap around without a word."""
    assert plain.to_fixed_point(kind(20)).total == plain.to_fixed_point(20).total
    assert plain.to_fixed_point(kind(3)).total == plain.to_fixed_point(3).total


def test_an_interrupt_while_the_last_save_is_cleared_away_leaves_nothing_of_it(plain, tmp_path, monkeypatch):
    folder = plain.save(tmp_path / "run")
    cleared = shutil.rmtree

    def interrupted(path, *more, **how):
        monkeypatch.setattr(shutil, "rmtree", cleared)
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plain.save(folder)
    assert [one.name for one in tmp_path.iterdir()] == ["run"]
    assert Calibration.load(folder).objective == plain.objective
