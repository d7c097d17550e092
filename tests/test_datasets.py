"""The data sets against sources that share no code with the loaders."""

import hashlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calibrate import datasets
from calibrate.errors import ConfigurationError, DataError

SHARED = Path(__file__).resolve().parents[1] / "../shared/data"
CAS_PANEL = SHARED / "cas/comauto_company_year_panel.csv"

needs_chainladder = pytest.mark.skipif(
    importlib.util.find_spec("chainladder") is None, reason="chainladder is not installed (pip install '.[cas]')"
)


@needs_chainladder
def test_the_cas_pool_has_the_46_companies_and_is_in_dollars():
    history = datasets.load_cas_commercial_auto()
    assert len(history.members) == 46
    assert [str(period) for period in history.periods] == [str(year) for year in range(1988, 1998)]
    assert history.currency == "USD"
    assert history.losses.loc["1988", "Celina Mut Grp"].item() == 3_917_000
    assert history.exposures.loc["1988", "Celina Mut Grp"].item() == 5_812_000


@needs_chainladder
@pytest.mark.skipif(not CAS_PANEL.is_file(), reason=f"{CAS_PANEL} is missing")
def test_the_cas_pool_agrees_with_an_independent_extract():
    history = datasets.load_cas_commercial_auto()
    panel = pd.read_csv(CAS_PANEL)
    for column, table in (("IncurLoss", history.losses), ("EarnedPremNet", history.exposures)):
        expected = panel.pivot_table(index="AccidentYear", columns="GRNAME", values=column)
        assert set(expected.columns) == set(history.members)
        np.testing.assert_array_equal(table[list(expected.columns)].to_numpy(), 1000.0 * expected.to_numpy())


@needs_chainladder
def test_the_cas_loader_does_not_import_chainladder():
    code = "import sys; from calibrate.datasets import load; load('cas-commercial-auto'); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'calibrate.datasets'" in done.stdout
    assert "'chainladder" not in done.stdout


def test_a_missing_chainladder_says_what_to_install(monkeypatch):
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'calibrate\[cas\]'"):
        datasets.load_cas_commercial_auto()


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ConfigurationError, match="no data set 'cas'; expected one of cas-commercial-auto, crypto-venue"
    ):
        datasets.load("cas")


def test_the_generator_writes_the_shipped_files(tmp_path):
    home = datasets.folder("crypto-venue")
    subprocess.run([sys.executable, str(home / "generate.py"), str(tmp_path)], check=True)
    for name in ("events.csv", "exposures.csv", "truth.json"):
        assert (tmp_path / name).read_bytes() == (home / name).read_bytes(), name


def test_the_card_states_the_checksums():
    home = datasets.folder("crypto-venue")
    sums = dict(reversed(pair) for pair in re.findall(r"([0-9a-f]{64})  (\S+)", (home / "README.md").read_text()))
    assert set(sums) == {"events.csv", "exposures.csv", "truth.json"}
    for name, expected in sums.items():
        assert hashlib.sha256((home / name).read_bytes()).hexdigest() == expected, name


def test_the_venue_is_rare_clustered_and_has_three_segments():
    history = datasets.load_crypto_venue()
    assert len(history.members) == 20
    assert sorted(history.segments) == ["exploit", "liquidation cascade", "oracle failure"]
    assert len(history.periods) == 72
    assert (history.losses == 0).to_numpy().mean() > 0.8
    monthly = pd.crosstab(history.events["date"].dt.strftime("%Y-%m"), history.events["segment"])
    monthly = monthly.reindex([str(period) for period in history.periods], fill_value=0)
    liquidations = monthly["liquidation cascade"]
    assert liquidations.var() > 2 * liquidations.mean()


def test_the_truth_matches_the_simulated_means():
    """Mean severities in closed form against a fresh draw of the generator's own process, within 5 standard errors."""
    spec = importlib.util.spec_from_file_location("generate", datasets.folder("crypto-venue") / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    segments = datasets.crypto_venue_truth()["segments"]
    for name in ("liquidation cascade", "oracle failure"):  # the exploit tail has no variance
        draw = generate.severities(np.random.default_rng(5), segments[name], 2_000_000)
        assert abs(draw.mean() - segments[name]["mean_severity"]) < 5 * draw.std() / np.sqrt(len(draw))
    exploit = segments["exploit"]
    large = generate.severities(np.random.default_rng(6), exploit, 400_000)
    beyond = (large > exploit["threshold"] + 2.5e6).mean()  # survival of the tail at one scale: (1 + shape)^(-1/shape)
    expected = 0.2 * 1.55 ** (-1 / 0.55)
    assert abs(beyond - expected) < 5 * np.sqrt(expected / 400_000)
