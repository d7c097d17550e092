"""Numbers and rules in words: how an amount, a share, a name or a rule is written for a committee."""

from __future__ import annotations

import ast
import math
import re
import unicodedata
from decimal import Decimal

__all__ = ["candidate", "money", "number", "percent", "plain", "rule", "shadow_price", "shorten", "term"]

DASH, NBSP = "–", "\u00a0"
DUST = 1e-6  # of money for money: less is what a solver leaves where it is nothing
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# What a rule says, by its class. {x} is the parameter as written, {x%} the same in percent, {x $} an amount of money.
# Several sentences: the first one whose parameters are all given.
_RULES: dict[str, str | tuple[str, ...]] = {
    "ActuarialFairness": "Shares follow expected losses, within {band%} either way",
    "ExposureProportional": "Shares follow exposure, within {band%} either way",
    "Solidarity": "Shares blend expected losses with an equal split ({share%} equal), within {band%} either way",
    "LoadingRatio": "The highest loading is at most {limit} times the lowest",
    "IndividualRationality": "Nobody pays more than its own risk standing alone (CVaR {level%})",
    "Budget": "Contributions and reserves together stay within {amount $}",
    "CoalitionStability": "No group of members would do better by leaving (CVaR {level%})",
    "RiskMonotonicity": "A riskier member never pays less (CVaR {level%})",
    "SimilarMembers": "Similar members bear similar loadings",
    "GroupParity": "Groups carry like loadings, within {tolerance%}",
    "AbilityToPay": "Nobody pays more than {share%} of its capital",
    "ShareCap": "Nobody pays more than {cap%} of all contributions",
    "ContributionFloor": "Everybody pays at least {amount $}",
    "FundFloor": "All contributions together come to at least {amount $}",
    "GiniLimit": "Inequality of loadings (Gini) is at most {limit}",
    "ConcentrationLimit": "Concentration of contributions (Herfindahl) is at most {hhi}",
    "CrossSubsidyCap": "Payments above the loaded expected loss are at most {share%} of all contributions",
    "Turnover": (
        "Since the previous calibration, no contribution moves by more than {member%}, and all together by {total%}",
        "No contribution moves by more than {member%} since the previous calibration",
        "Contributions move by no more than {total%} in all since the previous calibration",
    ),
    "CoverK": "The pool survives the default of its {k} largest members under stress",
}

# What a candidate for a part of the model assumes, by its class; {base} is what the candidate inside it assumes.
_CANDIDATES = {
    "Poisson": "independent events",
    "NegativeBinomial": "clusters, each member's own",
    "SharedShock": "clusters that hit all members together",
    "ZeroInflated": "{base}, with idle periods",
    "Elastic": "{base}; their number grows with a power of exposure",
    "Trend": "{base}; rates rise or fall in time",
    "LogLinear": "{base}; rates follow covariates",
    "Hawkes": "each event may bring others",
    "constant rate": "events that know nothing of each other",
    "LogNormal": "lognormal",
    "Gamma": "gamma",
    "Weibull": "Weibull",
    "Burr": "Burr",
    "Spliced": "a body, and above a threshold a tail of its own",
    "Empirical": "losses as they were seen",
    "Independent": "members do not move together",
    "Gaussian": "members move together, but not at the extreme",
    "StudentT": "members move together, at the extreme too",
    "GroupedT": "members move together, at the extreme too, by segment",
    "Vine": "members move together pair by pair",
}


def money(amount: float) -> str:
    """An amount with thousands separators, four significant digits below a thousand.

    >>> money(1234567.8), money(0.012344), money(-2.5), money(3e24), money(float("nan"))
    ('1,234,568', '0.01234', '-2.5', '3 × 10²⁴', '–')
    """
    if not math.isfinite(amount):
        return DASH if math.isnan(amount) else ("∞" if amount > 0 else "-∞")
    if amount == 0:
        return "0"
    size = abs(amount)
    if size >= 1e15 or size < 1e-4:
        mantissa, exponent = f"{amount:.3e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    if size >= 999.95:
        return f"{amount:,.0f}"
    text = f"{amount:.{max(0, 3 - math.floor(math.log10(size)))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float) -> str:
    """A share in percent, two decimals below ten.

    >>> percent(0.1234), percent(0.01234), percent(float("nan"))
    ('12.3\xa0%', '1.23\xa0%', '–')
    """
    if not math.isfinite(share):
        return DASH
    return f"{100 * share:,.{2 if abs(share) < 0.1 else 1}f}{NBSP}%"


def plain(name: object) -> str:
    """A name as one line of printable text: control characters, line breaks and lone surrogates become a space."""
    kept = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in str(name))
    return " ".join(kept.split()) or "(no name)"


def shorten(name: object, width: int = 30) -> str:
    """A name that fits beside a bar: its two ends, so that long names with a common start stay apart.

    >>> shorten("Mutual Insurance Company of the Northern Counties, Limited", 20)
    'Mutual Insu…, Limited'
    """
    text = plain(name)
    return text if len(text) <= width + 1 else f"{text[: width - 9]}…{text[-9:]}"


def term(name: str) -> str:
    """A risk term in words.

    >>> term("CVaR 99.5% of shortfall")
    'average shortfall in the worst 0.5\xa0% of periods (CVaR 99.5\xa0%)'
    """
    found = re.fullmatch(r"CVaR (\d+(?:\.\d+)?) ?% of (\w+)(?: loss)?", name)
    if not found:
        return plain(name)
    worst = (100 - Decimal(found[1])).normalize()
    what = "mutualised loss" if found[2] == "mutualised" else found[2]
    return f"average {what} in the worst {worst:f}{NBSP}% of periods (CVaR {found[1]}{NBSP}%)"


def number(kind: str, of: str) -> str:
    """A published number in words.

    >>> number("contribution", "A"), number("reserve", "pool"), number("risk", "CVaR 99% of shortfall")
    ('contribution of A', 'reserve pool', 'CVaR 99% of shortfall')
    """
    return plain({"contribution": f"contribution of {of}", "risk": of}.get(kind, f"{kind} {of}"))


def candidate(text: str) -> str:
    """What a candidate for a part of the model assumes; empty where we have no words for it.

    >>> candidate("Elastic(base=NegativeBinomial())")
    "clusters, each member's own; their number grows with a power of exposure"
    """
    words = _CANDIDATES.get(text.partition("(")[0].strip(), "")
    inside = re.search(r"base=(\w+\(.*\))\)$", text.strip())
    base = candidate(inside[1]) if inside else _CANDIDATES["NegativeBinomial"]  # the base that is meant by default
    return words.replace("{base}", base)


def rule(text: str, currency: str) -> str:
    """A rule or limit in words, from the text that names it; the text itself where it says more than we know.

    >>> rule("ShareCap(cap=0.125)", "USD"), rule("ContributionFloor(amount=2500)", "USD")
    ('Nobody pays more than 12.5\xa0% of all contributions', 'Everybody pays at least 2,500\xa0USD')
    >>> rule("CVaR 99% of shortfall <= 5,000", "USD")
    'Average shortfall in the worst 1\xa0% of periods (CVaR 99\xa0%) stays within 5,000\xa0USD'
    """
    unit = plain(currency)
    risk, limit, amount = text.rpartition(" <= ")
    if limit and term(risk) != plain(risk):
        words = term(risk)
        return f"{words[0].upper()}{words[1:]} stays within {plain(amount)}{NBSP}{unit}"
    known = _RULES.get(text.partition("(")[0].strip(), ())
    values = _parameters(text)
    sentences = (known,) if isinstance(known, str) else known
    sentence = next((one for one in sentences if set(re.findall(r"{(\w+)", one)) <= set(values)), None)
    if sentence is None:
        return plain(text)
    for name, value in values.items():
        sentence = sentence.replace(f"{{{name}%}}", f"{100 * value:g}{NBSP}%")
        sentence = sentence.replace(f"{{{name} $}}", f"{money(value)}{NBSP}{unit}").replace(f"{{{name}}}", money(value))
    return sentence


def shadow_price(price: float, binding: bool, currency: str) -> str:
    """What one unit of money more room would save at most, as the optimum is convex in it; more room never costs.

    >>> shadow_price(-0.031, True, "USD"), shadow_price(0.0, False, "USD")
    ('1 USD more room would save up to 0.031 USD', 'costs nothing: it does not bind')
    >>> shadow_price(1.3e-8, True, "USD")
    'binds, at no cost'
    """
    if math.isnan(price):
        return "not computed"
    if not binding:
        return "costs nothing: it does not bind"
    unit = plain(currency)
    if abs(price) <= DUST:
        return "binds, at no cost"
    return f"1 {unit} more room would save up to {money(abs(price))} {unit}"


def _parameters(text: str) -> dict[str, float]:
    """Numbers among the keywords of a call written as text; none where it is not one."""
    try:
        call = ast.parse(re.sub(r"np\.\w+\(([^()]*)\)", r"\1", text.strip()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    keywords = call.keywords if isinstance(call, ast.Call) else []
    return {
        item.arg: float(item.value.value)
        for item in keywords
        if item.arg
        and isinstance(item.value, ast.Constant)
        and isinstance(item.value.value, int | float)
        and abs(item.value.value) < 1e300
    }
