"""The wheel holds what it should (`.ci/run` does the main job with it); the README is right."""

import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_code_data_and_licence(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"calibrate/py.typed", "calibrate/_datasets/crypto_venue/events.csv"} <= names
    assert "calibrate/_datasets/cas_commercial_auto/cas-commercial-auto.toml" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "notebooks", "datasets/"))]


def test_the_readme_shows_what_the_loader_reads(tmp_path):
    """The configuration in the README is one that is understood, every class and key of it."""
    from calibrate.operations import construction
    from calibrate.operations.config import load

    text = (ROOT / "README.md").read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    (tmp_path / "pool.toml").write_text(text, encoding="utf-8")
    (tmp_path / "capital.csv").write_text("member,capital\nA,1000\n")
    calibrator = construction.calibrator(load(tmp_path / "pool.toml"), None)
    assert [type(rule).__name__ for rule in calibrator.subject_to] == ["ActuarialFairness", "AbilityToPay", "RiskLimit"]
    assert type(calibrator.model.dependence).__name__ == "StudentT"


@pytest.mark.parametrize("name", ["cas-commercial-auto", "crypto-venue"])
def test_the_starter_configurations_are_understood(name):
    from calibrate import datasets
    from calibrate.operations import construction
    from calibrate.operations.config import load

    configuration = load(datasets.folder(name) / f"{name}.toml")
    assert construction.calibrator(configuration, None).get_params()["n_scenarios"] == 20_000


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("chainladder") is None, reason="chainladder is not installed: pip install 'calibrate[cas]'"
)
def test_the_readme_example_runs(tmp_path, monkeypatch):
    from calibrate import Calibration

    code = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert Calibration.load("my-calibration") == names["calibration"]
    assert len(names["calibration"].weights) == 46


def test_a_conflict_prints_nothing_on_standard_output():
    """In a process of its own: a solver greets once in a process, below Python's own output."""
    program = """
import numpy as np
from calibrate import Scenarios, errors, fairness
from calibrate.program import CostOfCapital, CVaR, PoolProblem, Waterfall
rules = [fairness.FundFloor(9.0), fairness.Budget(1.0)]
try:
    PoolProblem(Scenarios(np.ones((5, 2))), Waterfall(), CostOfCapital(0.1) + CVaR(0.9), rules).solve()
except errors.RuleConflictError as error:
    print(len(error.conflict))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "2\n"
