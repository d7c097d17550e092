"""Checks a saved calibration without trusting who made it. Standard library only: `python verifier.py FOLDER`.

Exact: doubles are fractions. The bound: `m` in the dual cone times rules `G x - h <= 0` (less what doubles round) and
`nu >= 0` times limits, added to the costs, make no plan that keeps them dearer. A price times a CVaR is at least a flow
with `leaf <= group <= root <= price p / (1 - level)`, `sum root <= price` through the waterfall, as `(z)+ >= theta z`.
The rest is affine: its least value over a box of plans as good as the published one, > 0 only if none keeps the rules.
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
        for name, content in files.items():
            require(hashlib.sha256(content).hexdigest() == sums[name], f"{ascii(name)[1:-1]} was altered or truncated")
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
        odd = ({*body["rules"]} ^ said) | (said ^ {" ".join(n.split()) for n in said if n and n.isprintable()})
        require(not odd, f"a rule without rows, a limit without its risk, or not one line as it is: {sorted(odd)!a}")
        return {"plan": plan, "conflict": conflict}[body["kind"]](body, files, pool, checks)
    except Exception as error:  # whatever a damaged file makes of the code below: it is damaged
        reason = error.args[0] if type(error) is ValueError and error.args else f"the files do not read ({error!r})"
        return Verdict(False, None, f"rejected: {reason}", tuple(checks))


def plan(body: Body, files: dict[str, bytes], pool: "Pool", checks: list[str]) -> Verdict:
    """A published plan: its rules, its value, the bound on all others, and whether the result says the same."""
    unit, x = Fraction(1, 10 ** body["decimals"]), [int(text) for text in body["published"]]
    require([*map(str, x)] == body["published"] and len(x) == pool.size and min(x) >= 0, "odd published integers")
    size = pool.cvar(max([t["level"] for t in body["terms"]] or [Fraction(0.99)]), "mutualised", [0] * len(x), unit)
    require((size or 1) <= 2 * body["scale"] <= 4 * (size or 1), "the scale is not the size of the losses")
    feasible(body, [n * FINER for n in x] + [int(text) for text in body["witness"]])
    risks, most = [pool.cvar(t["level"], t["of"], x, unit) for t in body["terms"]], max(unit, sum(x) * unit / FINER)
    for (row, amount), etas, name in (map(limit.get, ("row", "risks", "name")) for limit in body["limits"]):
        room = sum(etas) * len(x) * most + sum(min(most, x[j] * unit) * a if a > 0 else -most * a for j, a in row)
        require(unit * dot(row, x) + dot(enumerate(etas), risks) <= amount + room, f"{name} is broken")
    checks.append(f"all rules and limits hold as they are written, to {float(unit)!r} {body['currency']} or 1e-9")
    objective = unit * dot(enumerate(body["costs"]), x) + dot(enumerate([t["price"] for t in body["terms"]]), risks)
    stated = agrees(body, files, pool, x, [objective, *risks])
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


def conflict(body: Body, files: dict[str, bytes], pool: "Pool", checks: list[str]) -> Verdict:
    """Rules without a plan: what they add up to is positive everywhere, and should be <= 0."""
    require(not any([len(files) - 2, *body["costs"], *(t["price"] for t in body["terms"])]), "conflict and objective")
    require((low := bound(body, pool, None)) > 0 <= low - body["lower_bound"] <= low / 2**50, "another contradiction")
    return Verdict(True, None, f"infeasible, proved: no plan keeps {', '.join(body['rules'])}", tuple(checks))


def feasible(body: Body, v: list[int]) -> None:
    """Every row holds, but for a unit a decision, 1e-9 of those that the rule speaks of, or 1e-12 of all."""
    n, grid = len(body["costs"]), 10 ** body["decimals"] * FINER
    for name, kind, rows in body["blocks"]:
        slack = [0] * (kind == "equal") + [amount * grid - dot(row, v) for row, amount in rows]
        ours = [(j, a) for row, _ in rows for j, a in row if j < n]
        grain = max(FINER, sum(v[j] for j in dict(ours)) // FINER, int(LITTLE**2 * body["scale"] * grid))
        slack[0] += sum(abs(a) * (min(grain, v[j]) if a > 0 and kind != "equal" else grain) for j, a in ours)
        require(slack[0] >= 0 and slack[0] ** 2 >= sum(s * s for s in slack[1:]), f"{name} does not hold")


def bound(body: Body, pool: "Pool", objective: Fraction | None) -> Fraction:
    """Least value over the box of the affine function that the multipliers make."""
    given, constant, prices = body["multipliers"], Fraction(0), [term["price"] for term in body["terms"]]
    slope, weighted, n = [*body["costs"], *[0] * body["auxiliary"]], list[Any](), len(body["costs"])
    room, far = [Fraction(0)] * len(slope), abs(objective or Fraction(0))  # the largest amount that this speaks of
    names = [f"CVaR {100 * float(t['level']):.10g}% of {t['of']}" for t in body["terms"] if 0 <= t["level"] < MOST]
    names = [name.replace("CVaR 0% of", "expected loss of") for name in names]
    require(names == [term["name"] for term in body["terms"]], "a term of another name, or beyond one in a million")
    for (_, kind, rows), m in zip(body["blocks"], given["blocks"], strict=True):
        require(kind == "equal" or (m[0] >= 0 and m[0] ** 2 >= sum(one**2 for one in m[1:])), "not in its cone")
        weighted.extend(zip(rows, m, strict=True))
    for limit, nu in zip(body["limits"], given["limits"], strict=True):
        true = sorted(f"{float(a):g} * {names[k]}".removeprefix("1 * ") for k, a in enumerate(limit["risks"]) if a)
        (row, amount), (said, _, most) = limit["row"], limit["name"].rpartition(" <= ")
        risks = sorted(one for one in said.split(" + ") if one.endswith(RISKS[1:]))
        ok = risks == true and bool(row) == (len(risks) < len(said.split(" + ")))  # costs have names of their own
        require(ok and most == f"{float(amount):,.10g}", f"{limit['name']} is another limit")
        require(min(nu, *prices, *limit["risks"], 0) >= 0, "a negative price or multiplier, or a limit rewards risk")
        prices = [price + nu * eta for price, eta in zip(prices, limit["risks"], strict=True)]
        weighted.append((limit["row"], nu))
    for (row, amount), m in weighted:
        require(len({j for j, _ in row if 0 <= j < len(slope)}) == len(row), "a column that is none, or stands twice")
        constant, far = constant - m * amount - abs(m * amount) * ROUNDED, max(far, abs(amount) * bool(m))
        for j, a in row if m else ():
            slope[j], room[j] = slope[j] + m * a, room[j] + abs(m * a) * (j < n)
    for term, price, flows in zip(body["terms"], prices, given["flows"], strict=True):
        constant += pool.cut(term, price, flows, slope)
        far = max(far, max(sum(loss for _, loss in row) for row in pool.rows) * bool(price) / Fraction(pool.finest))
    for g, r, (low, high) in zip(slope, room, box(body, objective), strict=True):
        edge = low if g > r * ROUNDED else high
        require(edge is not None or 0 <= g <= r * ROUNDED, "nothing bounds a decision that seems to pay")
        constant += (g - r * ROUNDED) * (1000 * far if edge is None else Fraction(edge, 10 ** body["decimals"] * FINER))
    return constant if objective is None else min(constant, objective)  # who is outside the box costs more


def box(body: Body, objective: Fraction | None) -> list[list[Any]]:
    """Bounds of decisions and auxiliary variables: sweeps over the rows, outwards; None if none. Risks are >= 0."""
    ends = [[0, None] for _ in body["costs"]] + [[None, None] for _ in range(body["auxiliary"])]
    rows = [limit["row"] for limit in body["limits"]] + [[[*enumerate(body["costs"])], objective]][objective is None :]
    for _, kind, (head, *tail) in body["blocks"]:
        h, top, tail = dict(head[0]), head[1], tail * (body["auxiliary"] > 0)  # no less than what follows in its cone
        rows += [head, [[(j, -a) for j, a in h.items()], -top]][: 1 + (kind == "equal")]
        rows += [[(h | {j: h.get(j, 0) + s * a for j, a in r}).items(), top + s * b] for r, b in tail for s in (1, -1)]
    unders = [math.lcm(*(Fraction(a).denominator for _, a in [*row, (0, amount)])) for row, amount in rows]
    grid, wholes = 10 ** body["decimals"] * FINER, zip(rows, unders, strict=True)
    for row, amount in [([(j, int(a * u)) for j, a in row if a], int(h * u) * grid) for (row, h), u in wholes] * 6:
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
        shape = list(arrays["shape"]) == [len(at) - 1, self.cells] == [self.n, len(self.own)]
        require(shape and len(body["costs"]) == self.size and min(losses, default=1) > 0, "losses of another shape")
        sound = [len({j for j, a in row if a >= 0 <= j < self.size}) == len(row) and h >= 0 for row, h in self.layers]
        sound += [len(self.stages) == self.k + 1, bytes(arrays.get("format", b"csr")) == b"csr"]
        require(all(sound), "an odd waterfall, or an odd order of scenarios")
        self.rows = [list(zip(columns[a:b], losses[a:b], strict=True)) for a, b in pairwise(at)]
        require([0, *sorted(at)[1:]] == [*at] and at[-1] == len(losses) == len(columns), "scenarios out of order")
        for p, row in zip(self.p, self.rows, strict=True):  # totals of losses times probabilities
            require(all(i < j for i, j in pairwise([-1, *(j for j, _ in row), self.cells])), "columns out of order")
            for j, loss in row:
                self.total[j // self.k] += p * loss
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
    require(FINER * unit <= (sum(amounts) or body["scale"]), "the published unit is too coarse")
    rounding = unit * (sum(map(abs, body["costs"])) + pool.size * (1 + sum(term["price"] for term in body["terms"])))
    rounding += (body["scale"] + sum(amounts)) / 10**12
    claims: list[Any] = [(amount, n * unit, unit) for amount, n in zip(amounts, x, strict=True)]
    claims += [(one["objective"], values[0], rounding) for one in (said, body)]
    claims += [(risk[t["name"]], v, rounding) for t, v in zip(body["terms"], values[1:], strict=True)]
    for i, (row, total) in enumerate(zip(tables[2], pool.total, strict=True)):
        share = sum(amounts[i * pool.k : (i + 1) * pool.k])
        claims += [(row["contribution"], share, 0), (row["sampled_loss"], Fraction(total, pool.mass * pool.finest), 0)]
        claims += [(row["weight"], share / (sum(amounts[: pool.cells]) or 1), LITTLE**2)]
    for stated, value, room in claims:
        require(abs(Fraction(float(stated)) - value) <= room + abs(value) / 10**12, f"{stated} for {float(value)}")
    return Fraction(float(said["lower_bound"]))


def unpacked(name: str, raw: bytes) -> tuple[str, Any]:
    """An array of an .npz file: 8 bytes, the length of a heading, the heading as numpy writes it, numbers."""
    end = 10 + int.from_bytes(raw[8:10], "little")
    kind, values = next((d, array(k, raw[end:])) for d, k in NUMBERS.items() if d in raw[10:end])
    size = b"" if kind == b"'|S3'" else b"%d," % len(values)
    heading = b"\x93NUMPY\1\0{'descr': %b, 'fortran_order': False, 'shape': (%b), }" % (kind, size)
    return name.removesuffix(".npy"), values if raw[:8] + raw[10:end].rstrip() == heading else None


def whole(values: Any) -> tuple[list[int], int]:
    """Integers and the power of two they are over: exactly the given doubles."""
    under = max((value.as_integer_ratio()[1] for value in values), default=1)
    return [above * (under // below) for above, below in (value.as_integer_ratio() for value in values)], under


def require(holds: object, otherwise: str) -> None:
    """Stop with a verdict."""
    if not holds:
        raise ValueError(otherwise)


if __name__ == "__main__":
    told = [*(verdict := verify(sys.argv[-1])).checks, verdict.sentence]  # names must not write lines of their own
    sys.stdout.write("".join(f"{ascii(one)[1:-1]}\n" for one in told))
    sys.exit(0 if verdict.proved else 5)
