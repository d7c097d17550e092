"""Checks a saved calibration without trusting who made it. Standard library only: `python verifier.py FOLDER`.

Exact arithmetic throughout (a double is a fraction with a power of two below). Why the lower bound holds: a rule says
`G x - h <= 0` (in its cone), a limit `q x + sum eta CVaR - b <= 0`. For multipliers `m` in the dual cone and `nu >= 0`

    objective(x) >= objective(x) + m (G x - h) + sum nu (q x + sum eta CVaR - b)     for every plan that keeps the rules,

and a price times a CVaR is at least any flow through its waterfall: `(z)+ >= theta z` for theta in [0, 1], and a CVaR is
the largest mean over weights <= p / (1 - level) that sum to 1. So flows with `leaf <= group <= root <= price p / (1 -
level)` and `sum root <= price` leave an affine function below everything; its least value over a box that holds every
plan as good as the published one is the bound. Without an objective, a positive bound is a contradiction.
"""

import csv
import hashlib
import json
import math
import sys
import zipfile
from array import array
from ast import literal_eval
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO, StringIO
from itertools import pairwise
from operator import mul
from pathlib import Path

FINER = 10**9  # bounds and auxiliary variables count in 1e-9 of the smallest published unit
LITTLE = Fraction(1, 10**6)  # of the scale: where an objective is smaller still, its gap is relative to that
SWEEPS = 6  # over the rows, to find the box
NUMBERS = {"<i4": "i", "<i8": "q", "<f8": "d"}


class Rejected(Exception):  # noqa: N818 (a verdict, not an error)
    """The files contradict each other."""


@dataclass(frozen=True)
class Verdict:
    """`proved` or not, the relative `gap` (None where there is no plan), one sentence, and what was checked."""

    proved: bool
    gap: float | None
    sentence: str
    checks: tuple[str, ...] = ()


def verify(path) -> Verdict:
    """Check the folder of a saved calibration, or of a saved conflict of rules."""
    checks = []
    try:
        files = sealed(Path(path))
        body = json.loads(files["certificate.json"])
        listed = body.pop("files")
        require(set(listed) == set(files) - {"certificate.json"}, "the certificate lists other files")
        for name, expected in listed.items():
            require(sha256(files[name]) == expected, f"{name} is not the file that the certificate lists")
        require(body["schema"] == 1, f"the certificate has schema {body['schema']!r}, expected 1")
        checks.append(f"{len(files)} files are those that were sealed")
        require(sha256(files["scenarios.npz"]) == body["scenarios"], "these are other scenarios")
        pool = Pool(unpacked(files["scenarios.npz"]), body)
        return (conflict if body["kind"] == "conflict" else plan)(body, files, pool, checks)
    except Rejected as reason:
        return Verdict(False, None, f"rejected: {reason}", tuple(checks))
    except Exception as error:  # whatever a damaged file makes of the code below: it is damaged
        return Verdict(False, None, f"rejected: the files do not read as a certificate ({error!r})", tuple(checks))


def plan(body, files, pool, checks):
    """A published plan: its rules, its value, the bound on all others, and that the result says the same."""
    unit, x = Fraction(1, 10 ** body["decimals"]), [int(text) for text in body["published"]]
    require(len(x) == pool.size and min(x) >= 0, "the published integers are not one for each decision, all >= 0")
    program, costs = Program(body, pool), [Fraction(q) for q in body["costs"]]
    worst = program.feasible([n * FINER for n in x] + [int(text) for text in body["witness"]])
    risks = [pool.cvar(term, x, unit) for term in body["terms"]]
    for limit in body["limits"]:
        value = unit * dot(limit, x) + sum(Fraction(e) * risk for e, risk in zip(limit["risks"], risks, strict=True))
        room = sum(abs(Fraction(q)) for q in limit["values"]) + sum(map(Fraction, limit["risks"])) * len(x)
        require(value <= Fraction(limit["amount"]) + room * unit, f"the limit {limit['name']} is exceeded")
    conditions = len(body["rules"]) + len(body["limits"])
    checks.append(f"{conditions} rules and limits hold, each row within {worst} units of 1e-{body['decimals']}")
    prices = [Fraction(term["price"]) for term in body["terms"]]
    objective = unit * sum(q * n for q, n in zip(costs, x, strict=True))
    objective += sum(price * risk for price, risk in zip(prices, risks, strict=True))
    rounding = unit * sum(abs(q) + sum(prices) for q in costs)
    agrees(body, files, pool, x, unit, objective, rounding, risks)
    checks.append(f"the published integers cost {float(objective)!r} {body['currency']}, and the result says the same")
    if body["multipliers"] is None:
        return Verdict(False, None, "feasible, not proved optimal: the certificate has no multipliers", tuple(checks))
    bound = program.bound(body["objective"])
    require(bound is not None and floor(bound) == body["lower_bound"], "the lower bound is not the one that is claimed")
    checks.append(f"no plan costs less than {body['lower_bound']!r}")
    size = max(abs(objective), LITTLE * min(Fraction(body["scale"]), 2 * pool.largest()))
    stated = Fraction(json.loads(files["calibration.json"])["lower_bound"])
    require(abs(stated - bound) <= size * Fraction(body["tolerance"]), "the result states another lower bound")
    gap = float(max(objective - bound, 0) / (size or 1))
    if gap > body["tolerance"]:
        return Verdict(False, gap, f"feasible, but the bound is {gap:.2g} away: not proved optimal", tuple(checks))
    return Verdict(True, gap, f"optimal within {gap:.2g}, proved", tuple(checks))


def conflict(body, files, pool, checks):
    """Rules without a plan: what they add up to should be <= 0, and is positive for every plan."""
    require(not any(body["costs"]) and not any(term["price"] for term in body["terms"]), "a conflict has no objective")
    bound = Program(body, pool).bound(None)
    require(bound is not None and floor(bound) == body["lower_bound"], "the contradiction is not the one claimed")
    if bound <= 0:
        return Verdict(False, None, "the rules were not proved to be in conflict", tuple(checks))
    names = ", ".join(one["name"] for one in body["rules"] + body["limits"])
    return Verdict(True, None, f"infeasible, proved: no plan satisfies {names}", tuple(checks))


class Program:
    """Rules and limits. Decisions and auxiliary variables count in 1 / `grid` of the currency."""

    def __init__(self, body, pool):
        self.body, self.pool, self.grid = body, pool, 10 ** body["decimals"] * FINER
        require(all(term["price"] >= 0 for term in body["terms"]), "a price of risk is negative")
        require(all(min(limit["risks"], default=0) >= 0 for limit in body["limits"]), "a limit rewards risk")

    def feasible(self, v):
        """How far the worst row is missed, in published units; no row may give more than one for each decision."""
        require(
            len(v) == self.pool.size + self.body["auxiliary"], "there is not one witness for each auxiliary variable"
        )
        worst = 0
        for rule in self.body["rules"]:
            for kind, rows in rule["blocks"]:
                slack = [Fraction(row["amount"]) * self.grid - dot(row, v) for row in rows]
                slack = [Fraction(0), *slack] if kind == "equal" else slack
                missed = math.sqrt(sum(float(s / FINER) ** 2 for s in slack[1:])) - float(slack[0] / FINER)
                room = FINER * sum(abs(Fraction(a)) for row in rows for a in row["values"])
                head = slack[0] + room
                require(head >= 0 and head * head >= sum(s * s for s in slack[1:]), f"{rule['name']} does not hold")
                worst = max(worst, math.ceil(missed))
        return worst

    def inequalities(self, objective):
        """Rows `sum a x <= h` that hold for every plan that keeps the rules and costs no more than `objective`."""
        for rule in self.body["rules"]:
            for kind, (head, *tail) in rule["blocks"]:
                yield coefficients(head), Fraction(head["amount"])
                if kind == "equal":
                    yield coefficients(head, -1), -Fraction(head["amount"])
                for row in tail:
                    for sign in (1, -1):
                        both = coefficients(head)
                        for j, a in coefficients(row, sign).items():
                            both[j] = both.get(j, 0) + a
                        yield both, Fraction(head["amount"]) + sign * Fraction(row["amount"])
        for limit in self.body["limits"]:
            yield coefficients(limit), Fraction(limit["amount"])
        if objective is not None:
            yield dict(enumerate(map(Fraction, self.body["costs"]))), Fraction(objective)

    def box(self, objective):
        """Bounds of every decision and auxiliary variable, rounded outwards to the grid; None where there is none."""
        low, rows = [0] * self.pool.size + [None] * self.body["auxiliary"], []
        high = [None] * len(low)
        for row, amount in self.inequalities(objective):
            common = math.lcm(amount.denominator, *(a.denominator for a in row.values()))
            rows.append(([(j, int(a * common)) for j, a in row.items() if a], int(amount * common) * self.grid))
        for _ in range(SWEEPS):
            for row, amount in rows:
                tighten(row, amount, low, high)
        return low, high

    def bound(self, objective):
        """Least value over the box of the affine function that the multipliers make; None where it has none."""
        body, given, constant = self.body, self.body["multipliers"], Fraction(0)
        slope = [Fraction(q) for q in body["costs"]] + [Fraction(0)] * body["auxiliary"]
        prices = [Fraction(term["price"]) for term in body["terms"]]
        weighted = []
        for rule, multipliers in zip(body["rules"], given["rules"], strict=True):
            for (kind, rows), m in zip(rule["blocks"], multipliers, strict=True):
                require(kind == "equal" or dual([Fraction(one) for one in m]), "a multiplier is outside its cone")
                weighted += zip(rows, m, strict=True)
        for limit, nu in zip(body["limits"], given["limits"], strict=True):
            require(nu >= 0, "the multiplier of a limit is negative")
            weighted.append((limit, nu))
            prices = [p + Fraction(nu) * Fraction(e) for p, e in zip(prices, limit["risks"], strict=True)]
        for row, m in weighted:
            constant -= Fraction(m) * Fraction(row["amount"])
            for j, a in coefficients(row).items() if m else ():
                slope[j] += Fraction(m) * a
        for term, price, flows in zip(body["terms"], prices, given["flows"], strict=True):
            constant += self.pool.cut(term, price, flows, slope)
        low, high = self.box(objective)
        for g, below_, above in zip(slope, low, high, strict=True):
            edge = below_ if g > 0 else above
            if g and edge is None:
                return None
            constant += g * edge / self.grid if g else 0
        return constant if objective is None else min(constant, Fraction(objective))


class Pool:
    """The scenarios, a sparse row each, and what their waterfall leaves."""

    def __init__(self, arrays, body):
        self.members, self.k = len(body["members"]), len(body["segments"])
        self.cells, self.size = self.members * self.k, self.members * self.k + len(body["reserves"])
        self.waterfall = body["waterfall"]
        self.at, self.column, self.loss = arrays["indptr"], arrays["indices"], arrays["data"]
        self.n, p = len(self.at) - 1, arrays["probabilities"]
        require(list(arrays["shape"]) == [self.n, self.cells] and len(p) == self.n, "the scenarios have another shape")
        require(self.at[0] == 0 and self.at[-1] == len(self.loss) == len(self.column), "the scenarios do not add up")
        for a, b in pairwise(self.at):
            row = [-1, *self.column[a:b], self.cells]
            require(a <= b and all(i < j for i, j in pairwise(row)), "the columns of a scenario are not in order")
        require(all(0 < value < math.inf for value in self.loss), "a loss is not a positive number")
        require(all(0 <= one <= 1 for one in p), "a probability is not between 0 and 1")
        self.p, above = whole(p)
        self.mass = sum(self.p)
        require(abs(Fraction(self.mass, above) - 1) < LITTLE, "the probabilities do not sum to 1")
        self.finest = 1 << max(0, 53 - math.frexp(min(self.loss, default=1.0))[1])  # no loss has smaller bits
        self.worth, self.par = whole(arrays.get("collateral", ()))
        require(len(self.worth) in (0, self.n * self.members), "the collateral has another shape")
        require(all(0 <= worth <= self.par for worth in self.worth), "collateral is worth less than 0 or more than 1")

    def largest(self):
        """The largest pooled loss of a scenario."""
        return Fraction(max((math.fsum(self.loss[a:b]) for a, b in pairwise(self.at)), default=0.0))

    def amounts(self, x, unit):
        """What cells, segments and the pool pay at most."""
        own = [Fraction(rate) * n * unit for rate, n in zip(self.waterfall["own"], x, strict=False)]
        stages = [unit * dot(row, x) + Fraction(row["amount"]) for row in self.waterfall["stages"]]
        require(len(own) == self.cells and len(stages) == self.k + 1 and min(own + stages) >= 0, "the waterfall is odd")
        return own, stages

    def cvar(self, term, x, unit):
        """CVaR of what is left at a plan: the largest losses, 1 - level of the probability, on average."""
        own, stages = self.amounts(x, unit)
        level, scale = (
            Fraction(term["level"]),
            math.lcm(self.finest, *(one.denominator for one in own + stages)) * self.par,
        )
        require(0 <= level < 1 and term["of"] in ("mutualised", "shortfall"), "this is no risk term")
        per_par, edge = [int(c * scale) // self.par for c in own], [0.0 if self.worth else floor(c) for c in own]
        left = [self.left(s, term["of"], per_par, edge, [int(r * scale) for r in stages], scale) for s in range(self.n)]
        rest = self.mass * (level.denominator - level.numerator)
        below_one, value = rest * scale, 0
        for s in sorted(range(self.n), key=left.__getitem__, reverse=True):
            taken = min(self.p[s] * level.denominator, rest)
            value, rest = value + taken * left[s], rest - taken
        return Fraction(value, below_one)

    def left(self, s, of, own, edge, stages, scale):
        """What the waterfall leaves in a scenario, over `scale`; a loss is above `own` just if it is above `edge`."""
        worth, beyond = self.paid(s), [-r for r in stages[:-1]]
        for j, v in zip(*self.row(s), strict=True):
            if of == "shortfall" or v > edge[j]:
                n, d = v.as_integer_ratio()
                excess = n * (scale // d)
                beyond[j % self.k] += excess if of == "shortfall" else max(excess - own[j] * worth[j // self.k], 0)
        if of == "shortfall":
            beyond = [b - sum(map(mul, own[g :: self.k], worth)) for g, b in enumerate(beyond)]
        return max(sum(max(b, 0) for b in beyond) - stages[-1], 0)

    def cut(self, term, price, flows, slope):
        """Constant of the affine function below a price times a term; what it slopes is taken off `slope`."""
        one, mutualised = 1 << flows["shift"], term["of"] == "mutualised"
        most = price * one / ((1 - Fraction(term["level"])) * self.mass)
        require(sum(flows["root"]) <= price * one, "the flows of a term exceed its price")
        require(all(s < t for s, t in pairwise([-1, *flows["scenarios"], self.n])), "the flows are not in order")
        pull, through, constant = [0] * self.cells, [0] * (self.k + 1), 0
        for s, root, groups, leaves in zip(*map(flows.get, ("scenarios", "root", "group", "leaf")), strict=True):
            (columns, losses), worth, groups = self.row(s), self.paid(s), groups or [root] * self.k
            require(0 <= root * most.denominator <= most.numerator * self.p[s], "a flow exceeds its probability")
            require(
                len(groups) == self.k and 0 <= min(groups) <= max(groups) <= root, "a flow exceeds the one above it"
            )
            through = [a + b for a, b in zip(through, [*groups, root], strict=True)]
            if not mutualised:
                pull = [a + groups[j % self.k] * worth[j // self.k] for j, a in enumerate(pull)]
            for j, v, leaf in zip(
                columns, losses, leaves if mutualised else [groups[j % self.k] for j in columns], strict=True
            ):
                require(0 <= leaf <= groups[j % self.k], "a flow exceeds the one above it")
                n, d = v.as_integer_ratio()
                constant += leaf * n * (self.finest // d)
                pull[j] += leaf * worth[j // self.k] if mutualised else 0
        value = Fraction(constant, one * self.finest)
        for j, (flow, rate) in enumerate(zip(pull, self.waterfall["own"], strict=True)):
            slope[j] -= Fraction(flow, one * self.par) * Fraction(rate)
        for flow, row in zip(through, self.waterfall["stages"], strict=True):
            value -= Fraction(flow, one) * Fraction(row["amount"])
            for j, a in coefficients(row).items():
                slope[j] -= Fraction(flow, one) * a
        return value

    def paid(self, s):
        """What one unit posted by each member is worth in a scenario, over `par`."""
        return self.worth[s * self.members : (s + 1) * self.members] or [1] * self.members

    def row(self, s):
        """Columns and losses of a scenario."""
        return self.column[self.at[s] : self.at[s + 1]], self.loss[self.at[s] : self.at[s + 1]]

    def expected(self):
        """Expected losses by member."""
        mean = [0.0] * self.members
        for s, p in enumerate(self.p):
            for j, v in zip(*self.row(s), strict=True):
                mean[j // self.k] += p / self.mass * v
        return mean


def agrees(body, files, pool, x, unit, objective, rounding, risks):
    """The result says what the integers say: contributions, reserves, weights, expected losses, risks, objective."""
    result = json.loads(files["calibration.json"])
    require(
        result["certificate"] == sha256(json.dumps(body, sort_keys=True).encode()), "the result has another certificate"
    )
    require(near(result["objective"], objective, rounding), "the objective is not what the integers cost")
    cells = [[i, g][: min(pool.k, 2)] for i in body["members"] for g in body["segments"]]
    decided = table(files, "contributions") + table(files, "reserves")
    require([row[:-1] for row in decided] == cells + [[name] for name in body["reserves"]], "other names in the result")
    stated = [Fraction(float(row[-1])) for row in decided]
    require(
        all(abs(a - n * unit) <= unit for a, n in zip(stated, x, strict=True)), "an amount is not the published one"
    )
    for part in (slice(pool.cells), slice(pool.cells, None)):
        require(
            2 * abs(sum(stated[part]) - sum(x[part]) * unit) <= unit * (1 + len(stated[pool.cells :])),
            "the sums differ",
        )
    total, paid = sum(x[: pool.cells]), [sum(x[i : i + pool.k]) for i in range(0, pool.cells, pool.k)]
    require(total + sum(x) == 0 or unit * FINER <= sum(stated), "the published unit is too coarse")
    for name, n, mean, row in zip(body["members"], paid, pool.expected(), table(files, "members"), strict=True):
        require(row[0] == name and near(float(row[1]), n * unit, pool.k * unit), f"{name} pays something else")
        require(
            near(float(row[2]), Fraction(n, total or 1), Fraction(len(x), total or 1)), f"{name} has another weight"
        )
        require(near(float(row[3]), mean, 0), f"{name} has another expected loss")
    shown = {row[0]: float(row[1]) for row in table(files, "risk")}
    for term, risk in zip(body["terms"], risks, strict=True):
        require(near(shown.get(term["name"], risk), risk, len(x) * unit), f"{term['name']} is not that of the integers")
    names = [row[0] for row in table(files, "fairness")]
    require(names == [one["name"] for one in body["rules"] + body["limits"]], "the result has other rules")


def tighten(row, amount, low, high):
    """Bounds that `sum a x <= amount` sets to each variable, from the least value of all others."""
    ends = [(a, low[j] if a > 0 else high[j]) for j, a in row]
    unknown, least = sum(end is None for _, end in ends), sum(a * (end or 0) for a, end in ends)
    for (j, a), (_, end) in zip(row, ends, strict=True):
        if unknown == (end is None):
            rest = amount - least + a * (end or 0)
            if a > 0:
                high[j] = -(-rest // a) if high[j] is None else min(high[j], -(-rest // a))
            else:
                low[j] = rest // a if low[j] is None else max(low[j], rest // a)


def sealed(folder):
    """Contents of the files by name, after checking them against SHA256SUMS."""
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    files = {}
    for expected, name in (line.split("  ", 1) for line in lines):
        require(Path(name).name == name, f"{name} is not a file of the folder")
        files[name] = (folder / name).read_bytes()
        require(sha256(files[name]) == expected, f"{name} was altered or truncated")
    return files


def unpacked(content):
    """One-dimensional arrays of an uncompressed .npz file."""
    arrays = {}
    with zipfile.ZipFile(BytesIO(content)) as archive:
        for name in archive.namelist():
            raw = archive.read(name)
            end = 10 + int.from_bytes(raw[8:10], "little")
            header = literal_eval(raw[10:end].decode("latin1"))
            if header["descr"] in NUMBERS:
                arrays[name.removesuffix(".npy")] = array(NUMBERS[header["descr"]], raw[end:])
    if sys.byteorder == "big":
        for values in arrays.values():
            values.byteswap()
    return arrays


def table(files, name):
    """Rows of a CSV file without its heading; an apostrophe keeps a spreadsheet from running a name."""
    rows = list(csv.reader(StringIO(files[f"{name}.csv"].decode(), newline="")))[1:]
    return [[cell.removeprefix("'") for cell in row] for row in rows]


def whole(values):
    """Integers and the power of two they are over: exactly the given doubles."""
    ratios = [value.as_integer_ratio() for value in values]
    under = max((d for _, d in ratios), default=1)
    return [n * (under // d) for n, d in ratios], under


def coefficients(row, sign=1):
    """The entries of a row by column."""
    return {j: sign * Fraction(a) for j, a in zip(row["columns"], row["values"], strict=True)}


def dot(row, v):
    """A row times integers."""
    return sum(Fraction(a) * v[j] for j, a in zip(row["columns"], row["values"], strict=True))


def dual(m):
    """Whether multipliers lie in the second-order cone, which is its own dual; alone: whether it is >= 0."""
    return m[0] >= 0 and m[0] * m[0] >= sum(one * one for one in m[1:])


def floor(exact):
    """The largest double that is not above."""
    return float(exact) if Fraction(float(exact)) <= exact else math.nextafter(float(exact), -math.inf)


def near(stated, exact, room):
    """Whether a double is an exact number but for the rounding of decisions and of doubles."""
    return abs(Fraction(stated) - Fraction(exact)) <= room + Fraction(exact) / 10**9


def sha256(content):
    """The hash of a file."""
    return hashlib.sha256(content).hexdigest()


def require(holds, otherwise):
    """Stop with a verdict."""
    if not holds:
        raise Rejected(otherwise)


if __name__ == "__main__":
    verdict = verify(sys.argv[1])
    sys.stdout.write("\n".join((*verdict.checks, verdict.sentence, "")))
    sys.exit(not verdict.proved)
