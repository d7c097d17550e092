"""Checks a saved calibration without trusting who made it. Standard library only: `python verifier.py FOLDER`.

Exact: doubles are fractions. Multipliers in the dual cone times rules and limits, loose as they are judged, and flows
`leaf <= group <= root <= price p / (1 - level)` for `(z)+ >= theta z` make an affine bound: its least value over a box.
"""

import csv
import hashlib
import io
import json
import math
import sys
import zipfile
from array import array
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

Body = dict[str, Any]  # the certificate; a row of a rule is [[[column, number], ...], amount]: their sum is <= amount
FINER, LITTLE, MOST, RISKS = 10**9, Fraction(1, 10**6), 0.9999995, (" <= ", " of mutualised", " of shortfall")
NUMBERS, ROUNDED = {b"'<i4'": "i", b"'<i8'": "q", b"'<f8'": "d", b"'|S3'": "B"}, Fraction(1, 2**40)  # part of a row
TABLES = ("contributions", "reserves", "members", "risk", "fairness")  # gaps: over LITTLE of losses; box: over FINER
dot: Any = lambda row, v: sum(a * v[j] for j, a in row)  # noqa: E731 (a row times decisions)
grid: Any = lambda body: 10 ** body["decimals"] * FINER  # noqa: E731 (what the box and auxiliaries are in)
within: Any = lambda s: s[0] >= 0 <= s[0] ** 2 - sum(one**2 for one in s[1:])  # noqa: E731 (a second-order cone)
once: Any = lambda pairs: {len(pairs): dict(pairs)}[len(dict(pairs))]  # noqa: E731 (no name stands twice)
READ: Body = {"parse_float": lambda x: Fraction(float(x)), "parse_constant": Fraction, "object_pairs_hook": once}


class Verdict(NamedTuple):
    """`proved` or not, the relative `gap` (None without a plan or a bound), one sentence, and what was checked."""

    proved: bool
    gap: float | None
    sentence: str
    checks: tuple[str, ...]


def verify(path: str | Path) -> Verdict:
    """Check the folder of a saved calibration, or of a saved conflict of rules."""
    checks: list[str] = []
    try:
        require(not any(one.is_symlink() or one.is_fifo() for one in Path(path).iterdir()), "a link leads elsewhere")
        sums = once([one.split("  ", 1)[::-1] for one in Path(path, "SHA256SUMS").read_text("utf-8").splitlines()])
        require("certificate.json" in sums, "there is no certificate, so nothing to check")
        files = {name: (Path(path) / Path(name).name).read_bytes() for name in sums}  # of this folder, never beyond
        altered = ", ".join(name for name, one in files.items() if hashlib.sha256(one).hexdigest() != sums[name])
        require(not altered, f"{ascii(altered)[1:-1]} was altered or truncated")
        body = json.loads(files["certificate.json"].decode(), **READ)
        listed = {"certificate.json": sums["certificate.json"], **body.pop("files")}
        require((listed, body["scenarios"], repr(body["schema"])) == (sums, sums["scenarios.npz"], "1"), "other files")
        checks.append(f"{len(files)} files are those that were sealed")
        require(0 <= body["decimals"] <= 400 and 0 <= body["auxiliary"] <= len(files["certificate.json"]), "odd sizes")
        with zipfile.ZipFile(io.BytesIO(raw := files["scenarios.npz"])) as archive:
            rest, n = len(raw) - sum(one.file_size for one in archive.infolist()), len(archive.namelist())  # headings
            require(0 < rest < 200 * n and raw[:4] + raw[-22:-18] == b"PK\3\4PK\5\6", "packed or padded scenarios")
            pool = Pool(once([unpacked(name, archive.read(name)) for name in archive.namelist()]), body)
        said = {t["name"] for t in body["limits"]} | {n * all(r not in n for r in RISKS) for n, *_ in body["blocks"]}
        odd, lines = ({*body["rules"]} ^ said) | ({*body["searched"]} - said), said | {body["currency"]}
        odd |= lines ^ {" ".join(n.split()) for n in lines if n and n.isprintable()}
        require(not odd, f"a rule without rows, a limit without its risk, or not one line as it is: {sorted(odd)!a}")
        if body["kind"] == "plan":
            return plan(body, files, pool, checks)
        idle = [body["kind"] != "conflict", len(files) - 2, *body["costs"], *(t["price"] for t in body["terms"])]
        low = bound(body, pool, None)  # what the rules add up to is positive everywhere, and should be <= 0
        require(not any(idle) and low > 0 <= low - body["lower_bound"] <= low / 2**50, "another contradiction")
        return Verdict(True, None, f"infeasible, proved: no plan keeps {', '.join(body['rules'])}", tuple(checks))
    except Exception as error:  # whatever a damaged file makes of the code below: it is damaged
        reason = error.args[0] if type(error) is ValueError and error.args else f"the files do not read ({error!r})"
        return Verdict(False, None, f"rejected: {reason}", tuple(checks))


def plan(body: Body, files: dict[str, bytes], pool: "Pool", checks: list[str]) -> Verdict:
    """A published plan: its rules, its value, the bound on all others, and whether the result says the same."""
    unit, x = Fraction(1, 10 ** body["decimals"]), [int(text) for text in body["published"]]
    require([*map(str, x)] == body["published"] and len(x) == pool.size and min(x) >= 0, "odd published integers")
    size = pool.cvar(max([t["level"] for t in body["terms"]] or [Fraction(0.99)]), "mutualised", [0] * len(x), unit)
    require((size or 1) <= 2 * body["scale"] <= 4 * (size or 1), "the scale is not the size of the losses")
    risks = [pool.cvar(t["level"], t["of"], x, unit) for t in body["terms"]]
    feasible(body, [n * FINER for n in x] + [int(text) for text in body["witness"]], risks)
    checks.append(f"all rules and limits hold as they are written, to {float(unit)!r} {body['currency']} or 1e-12")
    objective = unit * dot(enumerate(body["costs"]), x) + dot(enumerate([t["price"] for t in body["terms"]]), risks)
    stated = agrees(body, files, pool, x, risks)
    checks.append(f"the published integers cost {float(objective)!r} {body['currency']}; the result says the same")
    if body["multipliers"] is None:
        return Verdict(False, None, "feasible, not proved optimal: the certificate has no multipliers", tuple(checks))
    proved = bound(body, pool, body["objective"])
    require(0 <= proved - body["lower_bound"] <= abs(proved) / 2**50, "the lower bound is not the one that is claimed")
    size, most = max(abs(objective), LITTLE * body["scale"]), min(body["tolerance"], Fraction(1, 100))
    gap = max(objective - proved, Fraction(0)) / size
    require(-most <= (stated - proved) / size <= min(most, LITTLE, gap + LITTLE / 1000), "states another lower bound")
    checks.append(f"no plan costs less than {float(proved)!r} {body['currency']}")
    beyond = "".join(f"; that no other row of {name} is broken was searched, not proved" for name in body["searched"])
    told = ["feasible, but only within {:.2g}: not optimal", "optimal within {:.2g}, proved{}"][gap <= most]
    return Verdict(gap <= most, float(gap), told.format(float(gap), beyond), tuple(checks))


def conditions(body: Body) -> Any:
    """Rules and limits as slacks in a cone (of a limit less its risks), as loosely as they are judged: see `loose`."""
    n, grain, lost = len(body["costs"]), Fraction(1, 10 ** body["decimals"]), LITTLE**2 * abs(body["scale"])
    limits = [(one["name"], "limit", [one["row"]], one["risks"]) for one in body["limits"]]
    for name, kind, rows, risks in [*((*block, []) for block in body["blocks"]), *limits]:
        loose, spare = dict[int, Any](), (grain * n + lost) * sum(risks) + ROUNDED * sum(abs(h) for _, h in rows)
        for row, _ in rows:  # of each decision what doubles round, and a unit
            require(len({j for j, a in row if a and 0 <= j < n + body["auxiliary"]}) == len(row), "an odd column")
            loose |= {j: loose[j] + ROUNDED * abs(a) if j in loose else ROUNDED * abs(a) for j, a in row if j < n}
        (head, top), *tail = [([], 0)] * (kind == "equal") + rows
        first, top = dict(head), top + spare + grain / ROUNDED * sum(loose.values())
        first |= {j: first[j] - a if j in first else -a for j, a in loose.items()}
        yield name, kind, [(first.items(), top), *tail], risks, loose


def feasible(body: Body, v: list[int], risks: Any = None) -> None:
    """Every rule holds, and every limit on the risks that are given."""
    for name, kind, rows, rates, _ in conditions(body):
        slack = [(h - dot(enumerate(rates if risks else ()), risks)) * grid(body) - dot(row, v) for row, h in rows]
        require(within(slack) or (kind == "limit" and risks is None), f"{name} does not hold")


def bound(body: Body, pool: "Pool", objective: Fraction | None) -> Fraction:
    """Least value over the box of the affine function that the multipliers make."""
    given, terms, eased, far = body["multipliers"], body["terms"], list[Any](), abs(objective or Fraction(0))
    slope, constant, prices = [*body["costs"], *[0] * body["auxiliary"]], Fraction(0), [t["price"] for t in terms]
    names = [f"CVaR {100 * float(t['level']):.10g}% of {t['of']}".replace("CVaR 0%", "expected loss") for t in terms]
    require(names == [t["name"] for t in terms if t["price"] >= 0 <= t["level"] < MOST], "another term, or too far out")
    for limit in body["limits"]:
        etas, (row, amount), (text, _, most) = limit["risks"], limit["row"], limit["name"].rpartition(" <= ")
        true = [f"{float(a):.10g} * {names[k]}".removeprefix("1 * ") for k, a in enumerate(etas) if a]
        costs = [one for one in text.split(" + ") if not one.endswith(RISKS[1:])]  # they have names of their own
        ok = sorted(true + costs) == sorted(text.split(" + ")) and bool(row) == bool(costs) and min([*etas, 0]) >= 0
        require(ok and most == f"{float(amount):,.10g}", f"{limit['name']} is another limit, or rewards risk")
    found = [*conditions(body)]
    for (_, kind, rows, etas, loose), m in zip(found, given["blocks"] + given["limits"], strict=True):
        m = [sum(map(abs, m)), *m] if kind == "equal" else [m] if kind == "limit" else m
        require(within(m), "not in its cone")
        for (row, amount), one in zip(rows, m, strict=True):
            constant, far = constant - one * amount, max(far, abs(amount) * bool(one))  # the largest amount spoken of
            for j, a in row if one else ():
                slope[j] += one * a
        prices = [price + m[0] * eta for price, eta in zip(prices, etas or [0] * len(prices), strict=True)]
        eased.append((m[0], loose))
    for term, price, flows in zip(terms, prices, given["flows"], strict=True):
        constant += pool.cut(term, price, flows, slope)
        far = max(far, max(sum(loss for _, loss in row) for row in pool.rows) * bool(price) / Fraction(pool.finest))
    for j, (g, e) in enumerate(zip(slope, box(body, objective, found), strict=True)):
        require((end := e[g <= 0]) is not None or 0 >= g >= -sum(m * r.get(j, 0) for m, r in eased), "nothing bounds")
        constant += g * (1000 * far if end is None else Fraction(end, grid(body)))
    return constant if objective is None else min(constant, objective)  # who is outside the box costs more


def box(body: Body, objective: Fraction | None, found: Any = None) -> list[list[Any]]:
    """Bounds of decisions and auxiliary variables: sweeps over the rows, outwards; None if none. Risks are >= 0."""
    ends = [[0, None] for _ in body["costs"]] + [[None, None] for _ in range(body["auxiliary"])]
    rows: list[Any] = [[[*enumerate(body["costs"])], objective]][objective is None :]
    for _, kind, ((head, top), *tail), *_ in found or conditions(body):  # no slack exceeds the first
        h, tail = dict(head), tail * (kind == "equal" or body["auxiliary"] > 0)
        rows += [[head, top]]
        rows += [[(h | {j: h.get(j, 0) + s * a for j, a in r}).items(), top + s * b] for r, b in tail for s in (1, -1)]
    wholes = [(row, h * grid(body), math.lcm(*(Fraction(a).denominator for _, a in [*row, (0, h)]))) for row, h in rows]
    for row, amount in [([(j, int(a * u)) for j, a in row if a], int(h * u)) for row, h, u in wholes] * 6:
        least = [None if ends[j][a < 0] is None else a * ends[j][a < 0] for j, a in row]
        known, unknown = sum(one or 0 for one in least), least.count(None)
        for (j, a), one in zip(row, least, strict=True):
            if unknown == (one is None) and (None in ends[j] or ends[j][0] <= ends[j][1]):  # crossed: nothing is left
                rest, old = amount - known + (one or 0), ends[j][a > 0]
                new = -(-rest // a) if a > 0 else rest // a
                ends[j][a > 0] = new if old is None else min(old, new) if a > 0 else max(old, new)
    return ends


class Pool:
    """The scenarios, a sparse row each, and what their waterfall leaves."""

    def __init__(self, arrays: Body, body: Body) -> None:
        self.members, self.k = len({*body["members"]}), len({*body["segments"]})  # two of one name are none
        self.cells, self.size = self.members * self.k, self.members * self.k + len(body["reserves"])
        self.own, self.stages = body["waterfall"]["own"], body["waterfall"]["stages"]
        self.layers = [([[j, rate]], 0) for j, rate in enumerate(self.own)] + self.stages
        self.p, under = whole(arrays["probabilities"])
        self.n, self.mass, self.total = len(self.p), sum(self.p), [0] * self.members
        at, columns, (losses, self.finest) = arrays["indptr"], arrays["indices"], whole(arrays["data"])
        self.rows = [list(zip(columns[a:b], losses[a:b], strict=True)) for a, b in pairwise(at)]
        sound = [len({j for j, a in row if a >= 0 <= j < self.size}) == len(row) and h >= 0 for row, h in self.layers]
        sound += [list(arrays["shape"]) == [len(at) - 1, self.cells] == [self.n, len(self.own)], min([*losses, 1]) > 0]
        sound += [len(body["costs"]) == self.size, len(self.stages) == self.k + 1, [0, *sorted(at)[1:]] == [*at]]
        sound += [i < j for row in self.rows for i, j in pairwise([-1, *(j for j, _ in row), self.cells])]
        sound += [at[-1] == len(losses) == len(columns)]
        require(all(sound) and bytes(arrays.get("format", b"csr")) == b"csr", "another shape or an odd waterfall")
        for p, j, loss in ((p, j, loss) for p, row in zip(self.p, self.rows, strict=True) for j, loss in row):
            self.total[j // self.k] += p * loss  # totals of losses times probabilities
        require(min(self.p) >= 0 and abs(Fraction(self.mass, under) - 1) < LITTLE, "these are no probabilities")
        worth, self.par = whole(arrays.get("collateral", [1.0] * (self.n * self.members)))
        self.worth = list(zip(*[iter(worth)] * self.members, strict=True))
        require(len(self.worth) == self.n and 0 <= min(worth) <= max(worth) <= self.par, "collateral outside 0 to 1")

    def cvar(self, level: Fraction, of: str, x: list[int], unit: Fraction) -> Fraction:
        """CVaR of what is left at a plan: the largest losses, 1 - level of the probability, on average."""
        amounts = [unit * dot(row, x) + amount for row, amount in self.layers]
        finer = math.lcm(*(amount.denominator for amount in amounts))
        paid = [int(amount * finer * self.finest) for amount in amounts]
        own, ends = paid[: self.cells], [amount * self.par for amount in paid[self.cells :]]
        left, value = [self.left(s, of, own, ends, finer * self.par) for s in range(self.n)], 0
        rest = tail = self.mass * (level.denominator - level.numerator)
        for s in sorted(range(self.n), key=left.__getitem__, reverse=True):
            taken = min(self.p[s] * level.denominator, rest)
            value, rest = value + taken * left[s], rest - taken
        return Fraction(value, tail * finer * self.finest * self.par)

    def left(self, s: int, of: str, own: list[int], ends: list[int], finer: int) -> int:
        """What the waterfall leaves in a scenario, mutualised or as shortfall, in whole numbers."""
        worth, beyond = self.worth[s], [-amount for amount in ends[:-1]]
        for j, loss in self.rows[s]:
            beyond[j % self.k] += max(loss * finer - (own[j] * worth[j // self.k] if of == "mutualised" else 0), 0)
        for j in range(self.cells if of == "shortfall" else 0):
            beyond[j % self.k] -= own[j] * worth[j // self.k]
        return max(sum(max(amount, 0) for amount in beyond) - ends[-1], 0)

    def cut(self, term: Body, price: Fraction, flows: Body, slope: list[Any]) -> Fraction:
        """Constant of the affine function below a price times a term; what it slopes is taken off `slope`."""
        one, most, constant = 1 << min(flows["shift"], 4000), price / ((1 - Fraction(term["level"])) * self.mass), 0
        require(sum(flows["root"]) <= price * one, "the flows of a term exceed its price")
        require(all(s < t for s, t in pairwise([-1, *flows["scenarios"], self.n])), "the flows are out of order")
        pull, through, own = [0] * self.cells, [0] * (self.k + 1), term["of"] == "mutualised"
        for s, root, groups, leaves in zip(*map(flows.get, ("scenarios", "root", "group", "leaf")), strict=True):
            groups, row = groups or [root] * self.k, self.rows[s]
            flow = dict(zip((j for j, _ in row), leaves, strict=True) if own else enumerate(groups * self.members))
            ok = len(groups) == self.k and 0 <= min(groups) <= max(groups) <= root <= most * self.p[s] * one
            require(ok and all(0 <= f <= groups[j % self.k] for j, f in flow.items()), "a flow exceeds its probability")
            constant += sum(flow[j] * loss for j, loss in row)
            through = [a + b for a, b in zip(through, [*groups, root], strict=True)]
            for j, leaf in flow.items():
                pull[j] += leaf * self.worth[s][j // self.k]
        value, paid = Fraction(constant, one * self.finest), [*pull, *(total * self.par for total in through)]
        for total, (row, amount) in zip(paid, self.layers, strict=True):
            value -= Fraction(total, one * self.par) * amount
            for j, a in row:
                slope[j] -= Fraction(total, one * self.par) * a
        return value


def agrees(body: Body, files: dict[str, bytes], pool: Pool, x: list[int], values: list[Fraction]) -> Fraction:
    """The lower bound of the result, which otherwise says what the integers say: names, amounts, means, risks."""
    said, unit = json.loads(files["calibration.json"], **READ), Fraction(1, 10 ** body["decimals"])
    texts = [io.StringIO(files[f"{name}.csv"].decode(), newline="") for name in TABLES]
    csvs = [[[cell.removeprefix("'") for cell in row] for row in csv.reader(text)] for text in texts]  # ': never run
    heads, tables = [t[0] for t in csvs], [[once([*zip(t[0], row, strict=True)]) for row in t[1:]] for t in csvs]
    risk, levels = once([(r[heads[3][0]], r["in_sample"]) for r in tables[3]]), [*map(said["index_levels"].get, TABLES)]
    (own := json.loads(files["certificate.json"])).pop("files")
    digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()
    told = [said["certificate"], said["currency"], *map(said["provenance"].get, ("tolerance", "unit", "subject_to"))]
    require(told == [digest, body["currency"], body["tolerance"], body["scale"], body["rules"]], "another certificate")
    head = ["member", *["segment"] * (pool.k > 1), "contribution"]
    require(heads[:2] == [head, ["reserve", "amount"]] and levels == [len(head) - 1, 1, 1, 1, 1], "other columns")
    named = [tuple(map(row.get, heads[k][: levels[k]])) for k in (0, 1, 2, 4) for row in tables[k]]
    cells = [(i, g)[: levels[0]] for i in body["members"] for g in body["segments"]]
    require(named == cells + [(one,) for one in body["reserves"] + body["members"] + body["rules"]], "other names")
    amounts = [Fraction(float(row[heads[k][-1]])) for k in (0, 1) for row in tables[k]]
    require(2 * abs(sum(amounts[: pool.cells]) - sum(x[: pool.cells]) * unit) <= unit, "contributions sum otherwise")
    require(1000 * FINER * unit <= (sum(amounts) or body["scale"]), "the published unit is too coarse")
    rounding, prices = pool.size * unit + LITTLE**2 * body["scale"], [term["price"] for term in body["terms"]]
    claims: list[Any] = [*zip(amounts, [n * unit for n in x], [unit] * len(x), strict=True)]
    claims += [(risk[t["name"]], v, rounding) for t, v in zip(body["terms"], values, strict=True)]
    cost = dot(enumerate(body["costs"]), amounts) + dot(enumerate(prices), values)
    claims += [(one["objective"], cost, rounding * sum(prices)) for one in (said, body)]
    for i, (row, total) in enumerate(zip(tables[2], pool.total, strict=True)):
        share = sum(amounts[i * pool.k : (i + 1) * pool.k])
        claims += [(row["contribution"], share, 0), (row["sampled_loss"], Fraction(total, pool.mass * pool.finest), 0)]
        claims += [(row["weight"], share / (sum(amounts[: pool.cells]) or 1), LITTLE**2)]
    for one, value, room in claims:
        require(abs(Fraction(float(one)) - value) <= room + abs(value) / 10**12, f"{float(one)} for {float(value)}")
    return Fraction(float(said["lower_bound"]))


def unpacked(name: str, raw: bytes) -> tuple[str, Any]:
    """An array of an .npz file: 8 bytes, the length of a heading, the heading as numpy writes it, numbers."""
    end = 10 + int.from_bytes(raw[8:10], "little")
    d, v = next((d, array(k, raw[end:])) for d, k in NUMBERS.items() if d in raw[10:end])
    heading = b"\x93NUMPY\1\0{'descr': %b, 'fortran_order': False, 'shape': %a, }" % (d, (len(v),) * (d != b"'|S3'"))
    return name.removesuffix(".npy"), v if raw[:8] + raw[10:end].rstrip() == heading else None


def whole(values: Any) -> tuple[list[int], int]:
    """Integers and the power of two they are over: exactly the given doubles."""
    ratios = [value.as_integer_ratio() for value in values]
    under = max((below for _, below in ratios), default=1)
    return [above * (under // below) for above, below in ratios], under


def require(holds: object, otherwise: str) -> None:
    """Stop with a verdict."""
    if not holds:
        raise ValueError(otherwise)


if __name__ == "__main__":
    told = [*(verdict := verify(sys.argv[-1])).checks, verdict.sentence]  # names must not write lines of their own
    sys.stdout.write("".join(f"{ascii(one)[1:-1]}\n" for one in told))
    sys.exit(0 if verdict.proved else 5)
