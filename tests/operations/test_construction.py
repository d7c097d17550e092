"""Everything that the package offers can be said in a configuration."""

import inspect

import pandas as pd
import pytest

from calibrate import fairness, models, program
from calibrate.errors import ConfigurationError
from calibrate.operations.config import load
from calibrate.operations.construction import calibrator

RULES = {
    "AbilityToPay": "capital = { A = 1e6, B = 2e6, C = 3e6 }\nshare = 0.5",
    "ActuarialFairness": "band = 0.1",
    "Budget": "amount = 1e6",
    "CoalitionStability": "level = 0.9\nepsilon = 10.0",
    "ConcentrationLimit": "hhi = 0.4",
    "ContributionFloor": "amount = 10.0",
    "CoverK": 'stress = "stress.csv"\nk = 2',
    "CrossSubsidyCap": "share = 0.1\nloading = 0.2",
    "ExposureProportional": "band = 0.1",
    "FundFloor": "amount = 1e5",
    "GiniLimit": "limit = 0.2",
    "GroupParity": 'groups = "groups.csv"\ntolerance = 0.1',
    "IndividualRationality": "level = 0.9",
    "LoadingRatio": "limit = 2.0",
    "RiskMonotonicity": "level = 0.9",
    "ShareCap": "cap = 0.6",
    "SimilarMembers": 'distance = "distance.csv"\nlipschitz = 1.0',
    "Solidarity": "share = 0.3\nband = 0.2",
    "Turnover": "member = 0.2\ntotal = 0.1",
}
FILES = {
    "stress.csv": "scenario,A,B,C\ncrash,1e5,2e5,3e5\nhack,0,4e5,0\n",
    "groups.csv": "member,group\nA,small\nB,small\nC,large\n",
    "distance.csv": "member,A,B,C\nA,0,1,2\nB,1,0,1\nC,2,1,0\n",
}


def concrete(module):
    kinds = ((name, getattr(module, name)) for name in module.__all__)
    return {name for name, kind in kinds if inspect.isclass(kind) and not inspect.isabstract(kind)}


def build(tmp_path, text, previous=None):
    path = tmp_path / "pool.toml"
    path.write_text(f'[data]\nevents = "losses.csv"\n{text}\n')
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    return calibrator(load(path), previous)


def test_every_rule_is_tried_here():
    assert concrete(fairness) == set(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_can_be_said(tmp_path, name):
    previous = pd.Series({"A": 1.0, "B": 2.0, "C": 3.0})
    (rule,) = build(tmp_path, f'[[rules]]\nrule = "{name}"\n{RULES[name]}', previous).subject_to
    assert type(rule).__name__ == name


def test_tables_reach_the_rules_by_name(tmp_path):
    rules = build(
        tmp_path, "\n".join(f'[[rules]]\nrule = "{name}"\n{RULES[name]}' for name in ("CoverK", "GroupParity"))
    ).subject_to
    assert rules[0].stress.loc["hack"].to_dict() == {"A": 0.0, "B": 4e5, "C": 0.0}
    assert rules[1].groups.to_dict() == {"A": "small", "B": "small", "C": "large"}


def test_distances_can_be_said_as_rows(tmp_path):
    rule = '[[rules]]\nrule = "SimilarMembers"\nlipschitz = 1.0\ndistance = '
    (similar,) = build(tmp_path, rule + "[[0, 1.5], [1.5, 0]]").subject_to
    assert similar.distance == [[0, 1.5], [1.5, 0]]
    with pytest.raises(ConfigurationError, match=r"distance = 'near': expected the name of a \.csv file or "):
        build(tmp_path, rule + '"near"')


@pytest.mark.parametrize("key", ["found", "broken"])
def test_what_a_solve_finds_is_no_key(tmp_path, key):
    with pytest.raises(ConfigurationError, match=f"CoverK has no key '{key}'"):
        build(tmp_path, f'[[rules]]\nrule = "CoverK"\n{RULES["CoverK"]}\n{key} = {{}}')


def test_a_rule_about_the_run_before_waits_for_it(tmp_path):
    assert build(tmp_path, '[[rules]]\nrule = "Turnover"\nmember = 0.2').subject_to == []


@pytest.mark.parametrize(("key", "told"), [("membr = 0.25", "did you mean 'member'"), ("member = -0.25", "-0.25")])
def test_what_is_wrong_with_a_rule_that_waits_is_said_at_once(tmp_path, key, told):
    with pytest.raises(ConfigurationError, match=told):
        build(tmp_path, f'[[rules]]\nrule = "Turnover"\n{key}')


@pytest.mark.parametrize("name", sorted(concrete(program) & {"OwnContribution", "PoolReserve", "SegmentReserve"}))
def test_every_layer_can_be_said(tmp_path, name):
    assert type(build(tmp_path, f'[program]\nwaterfall = ["{name}"]').waterfall.layers[0]).__name__ == name


def test_terms_carry_their_price(tmp_path):
    text = '[[program.minimise]]\nterm = "ExpectedLoss"\n[[program.minimise]]\nterm = "CVaR"\nlevel = 0.9\nprice = 0.25'
    assert [str(term) for term in build(tmp_path, text).minimise] == [
        "expected loss of shortfall",
        "0.25 * CVaR 90% of shortfall",
    ]


def test_a_limit_on_a_term(tmp_path):
    (limit,) = build(tmp_path, '[[rules]]\nterm = "CVaR"\nlevel = 0.9\nat_most = 5e6').subject_to
    assert str(limit) == "CVaR 90% of shortfall <= 5,000,000"


def test_parts_of_the_model(tmp_path):
    text = """
[model]
frequency = "Poisson"
dependence = { family = "Gaussian" }
coverage = { retention = 1000.0, limit = { A = 5e5, B = 1e6, C = 1e6 } }
exposure_cap = 0.5
[model.severity.fire]
family = "Spliced"
body = "Gamma"
tail = { family = "GeneralizedPareto", threshold = 5e4 }
[model.severity.flood]
family = "LogNormal"
"""
    model = build(tmp_path, text).model
    assert isinstance(model.frequency, models.frequency.Poisson)
    assert isinstance(model.dependence, models.dependence.Gaussian)
    assert isinstance(model.severity["fire"].body, models.severity.Gamma)
    assert model.severity["fire"].tail.threshold == 5e4
    assert isinstance(model.severity["flood"], models.severity.LogNormal)
    assert model.coverage.limit["A"] == 5e5
    assert model.exposure_cap == 0.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[model]\nseverity = { famly = "Gamma" }', "[model] severity has the key 'famly'; did you mean 'family'?"),
        (
            '[model.severity]\nfamily = "GeneralizedPareto"\nthreshold = "high"',
            "[model] severity GeneralizedPareto, threshold = 'high': expected a valid number",
        ),
        (
            '[model.severity]\nfamily = "Spliced"\nbody = "Gammma"',
            "[model] severity Spliced, body = 'Gammma': expected an instance of Severity",
        ),
        (
            "[model]\nseverity = 3",
            "[model] severity is 3, expected the name of a class or a table with the key 'family'",
        ),
        ("[model]\ncoverage = 3", "[model] coverage is 3, expected a table of the arguments of Coverage"),
        ("[model]\ncoverage = { retension = 3.0 }", "did you mean 'retention'?"),
        (
            '[program]\nwaterfall = ["PoolReserve", "OwnContribution"]',
            "a layer of the pool cannot pay before one of a segment",
        ),
        ("[[rules]]\nband = 0.1", "[[rules]] 1 needs the key 'rule'; one of AbilityToPay, ActuarialFairness"),
        ('[[rules]]\nrule = "Rule"', "there is no rule 'Rule'"),
        ('[[rules]]\nrule = ["ShareCap"]', "[[rules]] 1: there is no rule ['ShareCap']"),
        ('[[rules]]\nterm = ["CVaR"]\nat_most = 1.0', "[[rules]] 1: there is no term ['CVaR']"),
        ('[[program.minimise]]\nterm = "CVaR"\nlevel = 0.9\nprice = -1.0', "-1"),
    ],
)
def test_what_cannot_be_built_is_named(tmp_path, text, words):
    with pytest.raises(ConfigurationError) as caught:
        build(tmp_path, text)
    assert words in str(caught.value)
