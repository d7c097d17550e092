"""Lies told by somebody who can make every hash anew: none is proved, each is told in one sentence.

Shares nothing with `test_corruption.py`: the files are sealed here by another hand, and each lie is about meaning.
"""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from calibrate import Scenarios, certificate, fairness, verify
from calibrate.certificate import verifier
from calibrate.errors import RuleConflictError
from calibrate.program import Budget, CostOfCapital, CVaR, ExpectedLoss, OwnContribution, PoolProblem, Waterfall

VERIFIER = Path(certificate.__file__).with_name("verifier.py")


def sha(content):
    return hashlib.sha256(content).hexdigest()


def sealed(folder, files):
    """Write files (name to bytes) with certificate, result and seal tied together; raw text is left as it is."""
    files = dict(files)
    try:
        if files["certificate.json"].count(b'"schema"') > 1:
            raise ValueError
        body = json.loads(files["certificate.json"])
        body["scenarios"] = sha(files["scenarios.npz"])
        body.pop("files", None)
        result = json.loads(files["calibration.json"])
        result["certificate"] = sha(json.dumps(body, sort_keys=True).encode())
        files["calibration.json"] = json.dumps(result).encode()
        rest = {name: sha(content) for name, content in files.items() if name not in ("certificate.json", "SHA256SUMS")}
        files["certificate.json"] = json.dumps(body | {"files": rest}).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # the lie is in the JSON itself
    files["SHA256SUMS"] = "".join(f"{sha(c)}  {n}\n" for n, c in sorted(files.items()) if n != "SHA256SUMS").encode()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def arrays_of(files):
    with np.load(io.BytesIO(files["scenarios.npz"])) as archive:
        return {name: archive[name] for name in archive.files}


def packed(arrays, **how):
    out = io.BytesIO()
    (np.savez_compressed if how.get("compressed") else np.savez)(out, **arrays)
    return out.getvalue()


def json_lie(name, change):
    def tell(rng, files):
        tree = json.loads(files[name])
        change(rng, tree)
        files[name] = json.dumps(tree).encode()

    return tell


def array_lie(change, **how):
    def tell(rng, files):
        arrays = arrays_of(files)
        change(rng, arrays)
        files["scenarios.npz"] = packed(arrays, **how)

    return tell


def heading_lie(name, change):
    """Another heading of an array: what numpy reads is not what the bytes say."""

    def tell(rng, files):
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(files["scenarios.npz"])) as source, zipfile.ZipFile(out, "w") as archive:
            for one in source.namelist():
                raw = source.read(one)
                if one == f"{name}.npy":
                    end = 10 + int.from_bytes(raw[8:10], "little")
                    head = change(raw[10:end].rstrip())
                    head += b" " * (-(10 + len(head) + 1) % 64) + b"\n"
                    raw = raw[:8] + len(head).to_bytes(2, "little") + head + raw[end:]
                archive.writestr(zipfile.ZipInfo(one), raw)
        files["scenarios.npz"] = out.getvalue()

    return tell


def text_lie(name, change):
    def tell(rng, files):
        files[name] = change(rng, files[name].decode()).encode()

    return tell


def largest(published):
    return max(range(len(published)), key=lambda j: int(published[j]))


def paid(by):
    def change(rng, body):
        j = largest(body["published"])
        body["published"][j] = by(body["published"][j])

    return change


def set_to(*path, value):
    def change(rng, body):
        node = body
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return change


def swapped(rng, body):
    i, j = sorted(range(len(body["published"])), key=lambda k: int(body["published"][k]))[-2:]
    body["published"][i], body["published"][j] = body["published"][j], body["published"][i]


def scaled(rng, body):
    by = rng.choice([1.5, 2.0, 10.0, -1.0]).item()
    for block in body["multipliers"]["blocks"]:
        block[:] = [by * m for m in block]
    body["lower_bound"] = body["lower_bound"] * (1 + 1e-3)


def flows_scaled(rng, body):
    for flow in body["multipliers"]["flows"]:
        flow["root"] = [int(one * 2) for one in flow["root"]]


def huge_without_probability(rng, arrays):
    """A scenario of no probability and a loss beyond measure: what is relative to the largest loss means nothing."""
    arrays["indptr"] = np.append(arrays["indptr"], arrays["indptr"][-1] + 1)
    arrays["indices"] = np.append(arrays["indices"], np.int32(0))
    arrays["data"] = np.append(arrays["data"], 1e30)
    arrays["probabilities"] = np.append(arrays["probabilities"], 0.0)
    arrays["shape"] = arrays["shape"] + [1, 0]
    if "collateral" in arrays:
        arrays["collateral"] = np.append(
            arrays["collateral"], np.ones(len(arrays["collateral"]) // arrays["shape"][0] + 1)
        )[: arrays["shape"][0] * (len(arrays["collateral"]) // (arrays["shape"][0] - 1))]


def worse_plan_on_a_huge_scale(rng, files):
    json_lie("certificate.json", set_to("scale", value=1e30))(rng, files)
    result = json.loads(files["calibration.json"])
    result["provenance"]["unit"] = 1e30
    files["calibration.json"] = json.dumps(result).encode()
    array_lie(huge_without_probability)(rng, files)


def bound_overstated(rng, files):
    for name, change in (("certificate.json", {"tolerance": 0.5}), ("calibration.json", {})):
        tree = json.loads(files[name])
        tree.update(change)
        if name == "calibration.json":
            tree["provenance"]["tolerance"] = 0.5
            tree["lower_bound"] *= 1.3
        files[name] = json.dumps(tree).encode()


def a_conflict_of_a_plan(rng, files):
    body = json.loads(files["certificate.json"])
    body |= {"kind": "conflict", "objective": None, "costs": [0.0] * len(body["costs"]), "lower_bound": 1.0}
    for term in body["terms"]:
        term["price"] = 0.0
    files["certificate.json"] = json.dumps(body).encode()


def cut_off(name, part):
    def change(rng, arrays):
        arrays[name] = arrays[name][: int(len(arrays[name]) * part)]

    return change


def doubled(rng, arrays):
    arrays["probabilities"] = arrays["probabilities"] * rng.choice([0.5, 2.0, 1.001])


def one_array(name, value):
    def change(rng, arrays):
        if name in arrays:
            k = rng.integers(len(arrays[name]))
            arrays[name] = arrays[name].astype(float)
            arrays[name][k] = value

    return change


def bomb(rng, files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", b"\0" * 200_000_000)
    files["scenarios.npz"] = out.getvalue()


def array_twice(rng, files):
    """Losses under a name that reads as the same: numpy takes the first, and a careless reader the last."""
    arrays, out = arrays_of(files), io.BytesIO()
    true = files["scenarios.npz"]
    with zipfile.ZipFile(io.BytesIO(true)) as honest, zipfile.ZipFile(out, "w") as archive:
        for entry in honest.namelist():
            content = honest.read(entry)
            if entry == "data.npy":
                part = io.BytesIO()
                np.save(part, arrays["data"] / 100)
                archive.writestr(entry, part.getvalue())
                archive.writestr("data.npx", content)
            else:
                archive.writestr(entry, content)
    files["scenarios.npz"] = out.getvalue()


def two_of_one_name(rng, files):
    body = json.loads(files["certificate.json"])
    first, second = body["members"][:2]
    body["members"][1] = first
    files["certificate.json"] = json.dumps(body).encode()
    for name in ("contributions.csv", "members.csv"):
        files[name] = files[name].replace(f"\n{second},".encode(), f"\n{first},".encode())


def padded_inside(rng, files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, zipfile.ZipFile(io.BytesIO(files["scenarios.npz"])) as honest:
        for entry in honest.infolist():
            info = zipfile.ZipInfo(entry.filename)
            info.extra = b"\xca\xfe" + (1000).to_bytes(2, "little") + b"\0" * 1000
            archive.writestr(info, honest.read(entry.filename))
    files["scenarios.npz"] = out.getvalue()


def renamed(kind, old, new, tables=("risk.csv", "fairness.csv")):
    """The name of a term or limit, in the certificate and in all tables: the number behind it is another."""

    def tell(rng, files):
        body = json.loads(files["certificate.json"])
        for one in body[kind]:
            one["name"] = one["name"].replace(old, new)
        body["rules"] = [name.replace(old, new) for name in body["rules"]]
        files["certificate.json"] = json.dumps(body).encode()
        for name in (*tables, "calibration.json"):
            files[name] = files[name].replace(old.encode(), new.encode())

    return tell


def column(name, key, change):
    def tell(rng, text):
        head, *rows = text.splitlines()
        at, k = head.split(",").index(key), rng.integers(len(rows))
        cells = rows[k].split(",")
        cells[at] = change(cells[at])
        rows[k] = ",".join(cells)
        return "\n".join([head, *rows]) + "\n"

    return text_lie(name, tell)


def column_twice(rng, text):
    """The last column again before itself, with other numbers: who reads by name may take the first."""
    head, *rows = [line.split(",") for line in text.splitlines()]
    lines = [[*head[:-1], head[-1], head[-1]], *([*row[:-1], "1.0", row[-1]] for row in rows)]
    return "".join(",".join(line) + "\n" for line in lines)


def wide(row):
    """Nothing is added, and what may be rounding grows beyond all measure."""
    j = row[0][0] if row else 0
    row += [[j, 1e12], [j, -1e12]]


def listed(rule):
    """A rule or limit in the list and in its table, and nothing behind it."""

    def tell(rng, files):
        body = json.loads(files["certificate.json"])
        body["rules"].append(rule)
        files["certificate.json"] = json.dumps(body).encode()
        files["fairness.csv"] += f"{rule},-1.0,False,0.0\n".encode()

    return tell


ODD = ["NaN", "Infinity", "-Infinity", "1e400", "true", '"1"', "[]", "{}", "null", "1" + "0" * 5000]
RAW = ("decimals", "auxiliary", "tolerance", "scale", "objective", "lower_bound", "schema")


def odd_number(key, text):
    def change(rng, whole):
        before = json.dumps(json.loads(whole)[key])
        return whole.replace(f'"{key}": {before}', f'"{key}": {text}', 1)

    return text_lie("certificate.json", change)


LIES = {
    "two members swap contributions": json_lie("certificate.json", swapped),
    "one pays half": json_lie("certificate.json", paid(lambda n: str(int(n) // 2))),
    "one pays less than nothing": json_lie("certificate.json", paid(lambda n: "-" + n)),
    "digits with underscores": json_lie("certificate.json", paid(lambda n: n[:1] + "_" + n[1:])),
    "digits of another script": json_lie(
        "certificate.json", paid(lambda n: n.translate({48 + k: 0x660 + k for k in range(10)}))
    ),
    "a plus sign": json_lie("certificate.json", paid(lambda n: "+" + n)),
    "negative zero": json_lie("certificate.json", set_to("published", 0, value="-0")),
    "multipliers scaled": json_lie("certificate.json", scaled),
    "flows beyond their price": json_lie("certificate.json", flows_scaled),
    "flow of the wrong sign": json_lie(
        "certificate.json", lambda r, b: set_to("multipliers", "flows", 0, "root", 0, value=-1)(r, b)
    ),
    "a rule forgotten": json_lie("certificate.json", lambda r, b: b["rules"].pop()),
    "a rule without rows": listed("ShareCap(cap=0.01)"),
    "a limit that is only listed": listed("CVaR 90% of mutualised <= 0.001"),
    "a bound above the objective": json_lie(
        "calibration.json", lambda r, b: b.update(lower_bound=b["objective"] * (1 + 5e-7))
    ),
    "a reserve below zero": json_lie(
        "certificate.json", lambda r, b: b["waterfall"]["stages"][-1].__setitem__(1, -1.0)
    ),
    "an amount moved": json_lie(
        "certificate.json", lambda r, b: [block[2][0].__setitem__(1, block[2][0][1] - 1.0) for block in b["blocks"]]
    ),
    "a cheaper objective": json_lie("certificate.json", lambda r, b: b.update(costs=[c * 0.9 for c in b["costs"]])),
    "another level": json_lie("certificate.json", lambda r, b: b["terms"][0].update(level=0.5)),
    "a level of one": json_lie("certificate.json", lambda r, b: b["terms"][0].update(level=1.0)),
    "a negative price": json_lie("certificate.json", lambda r, b: b["terms"][0].update(price=-1.0)),
    "other units": json_lie("certificate.json", lambda r, b: b.update(decimals=b["decimals"] + 1)),
    "astronomic decimals": json_lie("certificate.json", lambda r, b: b.update(decimals=10**12)),
    "astronomic shift": json_lie("certificate.json", lambda r, b: b["multipliers"]["flows"][0].update(shift=10**12)),
    "a billion auxiliary variables": json_lie("certificate.json", lambda r, b: b.update(auxiliary=10**11)),
    "a bound of one's own": json_lie("certificate.json", lambda r, b: b.update(lower_bound=b["objective"])),
    "a bound overstated under a wide tolerance": bound_overstated,
    "a scale beyond measure": worse_plan_on_a_huge_scale,
    "a plan called a conflict": a_conflict_of_a_plan,
    "another kind": json_lie("certificate.json", lambda r, b: b.update(kind="proof")),
    "no multipliers": json_lie("certificate.json", lambda r, b: b.update(multipliers=None)),
    "probabilities scaled": array_lie(doubled),
    "fewer probabilities": array_lie(cut_off("probabilities", 0.5)),
    "fewer losses": array_lie(cut_off("data", 0.5)),
    "no scenarios": array_lie(cut_off("indptr", 0.0)),
    "scenarios out of order": array_lie(lambda r, a: a.update(indptr=a["indptr"][::-1].copy())),
    "a loss that is none": array_lie(one_array("data", np.nan)),
    "an endless loss": array_lie(one_array("data", np.inf)),
    "a negative loss": array_lie(one_array("data", -1.0)),
    "a probability below zero": array_lie(one_array("probabilities", -0.1)),
    "big-endian": array_lie(lambda r, a: a.update(data=a["data"].astype(">f8"))),
    "a shorter shape": heading_lie("probabilities", lambda head: re.sub(rb"\(\d+,\)", b"(59,)", head)),
    "a shape of fewer losses": heading_lie("data", lambda head: re.sub(rb"\(\d+,\)", b"(5,)", head)),
    "a kind in a comment": heading_lie("data", lambda head: head.replace(b"'<f8'", b'"<i8"') + b"#'<f8'"),
    "the order of columns": heading_lie("data", lambda head: head.replace(b"False", b"True")),
    "scenarios by columns": array_lie(lambda r, a: a.update(format=np.array(b"csc"))),
    "half precision": array_lie(lambda r, a: a.update(data=a["data"].astype("<f4"))),
    "objects": array_lie(lambda r, a: a.update(data=a["data"].astype(object))),
    "compressed": array_lie(lambda r, a: a.update(more=np.zeros(1_000_000)), compressed=True),
    "a bomb": bomb,
    "no archive": lambda rng, files: files.update({"scenarios.npz": b"PK"}),
    "half an archive": lambda rng, files: files.update({"scenarios.npz": files["scenarios.npz"][:-100]}),
    "a contribution in the table": column(
        "contributions.csv", "contribution", lambda cell: repr(float(cell) * 1.01 + 1)
    ),
    "a contribution of a member": column("members.csv", "contribution", lambda cell: repr(float(cell) * 1.01 + 1)),
    "a weight": column("members.csv", "weight", lambda cell: repr(float(cell) + 0.01)),
    "a reserve": column("reserves.csv", "amount", lambda cell: repr(float(cell) * 1.01 + 1)),
    "a name": column("members.csv", "member", lambda cell: cell + "\u200d"),
    "a rule's name": column("fairness.csv", "rule", lambda cell: cell + " "),
    "not a number": column("contributions.csv", "contribution", lambda cell: "nan"),
    "no number": column("contributions.csv", "contribution", lambda cell: ""),
    "an empty table": text_lie("risk.csv", lambda r, text: text.splitlines()[0] + "\n"),
    "padding at the end": lambda rng, files: files.update({"scenarios.npz": files["scenarios.npz"] + b"\0" * 100}),
    "padding at the start": lambda rng, files: files.update({"scenarios.npz": b"\0" * 100 + files["scenarios.npz"]}),
    "padding inside": padded_inside,
    "a term of another level": renamed("terms", "CVaR 90%", "CVaR 99%"),
    "a limit of another amount": renamed("limits", "<= 1.5", "<= 1.2"),
    "a limit of twice the risk": renamed("limits", "CVaR 80%", "2 * CVaR 80%", ["fairness.csv"]),
    "a limit of a little more risk": renamed("limits", "CVaR 80%", "1.0001 * CVaR 80%", ["fairness.csv"]),
    "a limit of another risk": renamed("limits", "CVaR 80%", "CVaR 90%", ["fairness.csv"]),
    "a limit of more risks": renamed("limits", "CVaR 80%", "0.1 * CVaR 90% of mutualised + CVaR 80%", ["fairness.csv"]),
    "a limit with a discount": json_lie("certificate.json", lambda r, b: b["limits"][0]["row"][0].append([0, -1e-9])),
    "a limit without its risk": json_lie("certificate.json", lambda r, b: b["limits"][0].update(risks=[0.0] * 3)),
    "a column twice in the table": text_lie("contributions.csv", column_twice),
    "a column twice in the members": text_lie("members.csv", column_twice),
    "a term twice": text_lie("risk.csv", lambda r, text: text.replace("\n", "\n" + text.splitlines()[1] + "\n", 1)),
    "a column twice in a row": json_lie("certificate.json", lambda r, b: wide(b["blocks"][0][2][0][0])),
    "a column twice in a limit": json_lie("certificate.json", lambda r, b: wide(b["limits"][0]["row"][0])),
    "the same array under two names": array_twice,
    "other rules in the result": json_lie(
        "calibration.json", set_to("provenance", "subject_to", 0, value="ShareCap(cap=0.01)")
    ),
    "a bound in words": json_lie("calibration.json", lambda r, b: b.update(lower_bound="1/3")),
    "columns of each other's names": text_lie(
        "reserves.csv", lambda r, text: text.replace("reserve,amount", "amount,reserve", 1)
    ),
    "a column of another name": text_lie("contributions.csv", lambda r, text: text.replace("contribution", "share", 1)),
    "two members of one name": two_of_one_name,
    "deep": lambda rng, files: files.update({"certificate.json": b"[" * 100_000}),
    "a key twice": text_lie("certificate.json", lambda r, text: text.replace('{"schema"', '{"schema": 2, "schema"', 1)),
    **{f"{key} {text[:9]}": odd_number(key, text) for key in RAW for text in ODD},
}


@pytest.fixture(scope="module")
def honest(rich, tmp_path_factory):
    folder = rich.save(tmp_path_factory.mktemp("honest") / "run")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    again = sealed(folder.parent / "again", files)  # the other hand alone changes no verdict
    assert verify(again).proved, verify(again)
    return files


def told(name, honest, folder, seed):
    files = dict(honest)
    LIES[name](np.random.default_rng(seed), files)
    return verify(sealed(folder / "lie", files))


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_told(name, honest, tmp_path):
    verdict = told(name, honest, tmp_path, 0)
    assert not verdict.proved, verdict
    assert verdict.sentence.startswith(("rejected: ", "feasible, "))
    assert "\n" not in verdict.sentence


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_a_thousand_lies(block, honest, tmp_path):
    for seed in range(3 * block, 3 * block + 3):
        for name in LIES:
            assert not told(name, honest, tmp_path, seed).proved, (name, seed)


def test_a_key_that_stands_twice_with_every_hash_right(honest, tmp_path):
    folder = sealed(tmp_path / "lie", honest)
    text = (folder / "certificate.json").read_bytes().replace(b'{"schema"', b'{"currency": "EUR", "schema"', 1)
    seal = (folder / "SHA256SUMS").read_text().replace(sha((folder / "certificate.json").read_bytes()), sha(text))
    (folder / "certificate.json").write_bytes(text)
    (folder / "SHA256SUMS").write_text(seal)
    assert verify(folder).sentence.startswith("rejected: ")


def test_a_file_that_stands_twice_in_the_seal(honest, tmp_path):
    folder = sealed(tmp_path / "lie", honest)
    seal = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  risk.csv\n{seal}")
    assert verify(folder).sentence.startswith("rejected: ")


@pytest.mark.parametrize("links", [1, 3])
@pytest.mark.parametrize("times", [1.0, 1e3, 1e9, 1e15])
def test_auxiliary_variables_give_no_room_to_a_broken_row(times, links, tmp_path):
    """Two that are equal, times a large number: a row that gave a unit for each of them would say nothing."""
    problem = PoolProblem(
        Scenarios(np.random.default_rng(0).lognormal(0, 1, (50, 3))),
        Waterfall(),
        [CostOfCapital(0.04, 0.06), 0.1 * CVaR(0.9, of="mutualised")],
    )
    folder = problem.solve().save(tmp_path / "run")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    body, result = json.loads(files["certificate.json"]), json.loads(files["calibration.json"])
    paid = int(body["published"][0]) / 10 ** body["decimals"]
    n = len(body["costs"]) + body["auxiliary"]
    rows = [[[[[n, 1.0], [n + 1, -1.0]], 0.0]]]
    rows += [[[[[n + k + 1, 1.0], [n + k, -times], [n + k - 1, times]][: 2 + (k == 1)], 0.0]] for k in range(1, links)]
    last = [[n + links, times]] if links > 1 else [[n, times], [n + 1, -times]]
    name = "AbilityToPay(share=1.0)"
    body["blocks"] += [*([name, "equal", row] for row in rows), [name, "linear", [[[[0, 1.0], *last], 0.9 * paid]]]]
    body["multipliers"]["blocks"] += [[0.0]] * (len(rows) + 1)
    body["auxiliary"] += links + 1
    body["witness"] += ["0"] * (links + 1)
    body["rules"].append(name)
    result["provenance"]["subject_to"] = body["rules"]
    files["fairness.csv"] += f"{name},-0.5,False,0.0\n".encode()
    files["certificate.json"], files["calibration.json"] = json.dumps(body).encode(), json.dumps(result).encode()
    assert f"{name} does not hold" in verify(sealed(tmp_path / "lie", files)).sentence


def test_a_reserve_that_is_nothing_gives_no_room_to_a_broken_row(tmp_path):
    """A row may miss by a unit for each entry; a decision that is zero cannot fall by one, whatever its rate."""
    losses = np.random.default_rng(0).pareto(2.5, (300, 3))
    problem = PoolProblem(
        Scenarios(losses),
        Waterfall(),
        [CostOfCapital(0.02, 5.0), 1.0 * CVaR(0.9, of="mutualised")],
        [fairness.ShareCap(0.5), Budget(100.0)],
    )
    folder = problem.solve().save(tmp_path / "run")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    body = json.loads(files["certificate.json"])
    assert body["published"][-1] == "0"
    block = next(block for block in body["blocks"] if block[0] == "ShareCap(cap=0.5)")
    row, amount = block[2][0]
    block[2][0] = [[*row, [3, 1e12]], amount - 100.0]
    files["certificate.json"] = json.dumps(body).encode()
    assert "ShareCap(cap=0.5) does not hold" in verify(sealed(tmp_path / "lie", files)).sentence


@pytest.mark.parametrize("name", ["../outside.csv", "/dev/zero", "/etc/passwd", "..", ""])
def test_the_seal_reads_nothing_beyond_its_folder(name, honest, tmp_path):
    (tmp_path / "outside.csv").write_text("member,contribution\n")
    folder = sealed(tmp_path / "lie", honest)
    with (folder / "SHA256SUMS").open("a") as seal:
        seal.write(f"{sha(b'')}  {name}\n")
    done = subprocess.run(
        [sys.executable, "-S", "-I", VERIFIER, folder], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (5, "")
    assert done.stdout.splitlines()[-1].startswith("rejected: ")


def test_no_file_is_a_link_to_elsewhere(honest, tmp_path):
    """The same bytes by way of a link: somebody may change them where they lie."""
    for name in ("contributions.csv", "SHA256SUMS"):
        folder = sealed(tmp_path / "lie", honest)
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        assert verify(folder).sentence == "rejected: a link leads elsewhere"


def test_a_pool_without_losses_has_no_scale_of_its_own(tmp_path):
    """With a scale of 1e30 anything that is paid for no losses would be optimal."""
    plan = PoolProblem(Scenarios(np.zeros((4, 2))), Waterfall(), CostOfCapital(0.1, 0.2) + CVaR(0.9)).solve()
    folder = plan.save(tmp_path / "run")
    assert verify(folder).proved
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    json_lie("certificate.json", set_to("scale", value=1e30))(None, files)
    result = json.loads(files["calibration.json"])
    result["provenance"]["unit"] = 1e30
    files["calibration.json"] = json.dumps(result).encode()
    verdict = verify(sealed(tmp_path / "lie", files))
    assert (verdict.proved, verdict.sentence) == (False, "rejected: the scale is not the size of the losses")


def test_limits_on_sums_are_what_their_names_say(tmp_path):
    """Prices of six digits, the same risk twice, a cost in between: none is taken for a lie."""
    risk = CVaR(0.9, of="mutualised")
    limits = [
        0.123456789 * risk + CostOfCapital(0.02, 0.05) + 1e-7 * CVaR(0.5) <= 9.0,
        0.25 * risk + ExpectedLoss("mutualised") + 0.75 * risk <= 9.5,
        1234567.0 * ExpectedLoss("shortfall") <= 9e9,
    ]
    losses = Scenarios(np.random.default_rng(3).pareto(3.0, (50, 4)))
    plan = PoolProblem(losses, Waterfall(), CostOfCapital(0.03, 0.05) + 0.2 * risk, limits).solve()
    verdict = verify(plan.save(tmp_path / "run"))
    assert verdict.proved, verdict
    files = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    for lie in ("expected loss of mutualised", "CVaR 50% of shortfall", "CVaR 99% of shortfall"):
        forged = dict(files)  # a risk that is said and does not count, known to the program or not
        renamed("limits", " + CostOfCapital", f" + {lie} + CostOfCapital", ["fairness.csv"])(None, forged)
        assert "is another limit" in verify(sealed(tmp_path / "lie", forged)).sentence


@pytest.mark.parametrize(
    "name",
    [
        "CVaR 90% of mutualised\xa0<= 0.001",
        "CVaR 90% of mutualised  <= 0.001",
        "CVaR 90% of mutualised\u200b <= 0.001",
        "CVaR 90% of mutualised \u2264 0.001",
        "x\noptimal within 3.1e-09, proved\x1b[8m",
        "",
    ],
)
def test_a_rule_that_reads_like_a_limit_or_writes_lines_of_its_own_is_told(name, tmp_path):
    """They were proved: a rule without teeth under the name of a limit, or a name that ends the verdict."""
    files = small_run(tmp_path / "run")
    body, result = json.loads(files["certificate.json"]), json.loads(files["calibration.json"])
    (old,) = body["rules"]
    body["rules"] = result["provenance"]["subject_to"] = [name]
    body["blocks"] = [[name if rule == old else rule, kind, rows] for rule, kind, rows in body["blocks"]]
    head, _ = files["fairness.csv"].decode().splitlines()
    files["fairness.csv"] = f'{head}\n"{name}",-1.0,False,0.0\n'.encode()
    files |= {"certificate.json": json.dumps(body).encode(), "calibration.json": json.dumps(result).encode()}
    folder = sealed(tmp_path / "lie", files)
    assert "or not one line as it is" in verify(folder).sentence
    shown = subprocess.run([sys.executable, VERIFIER, folder], capture_output=True, text=True, check=False)
    assert shown.returncode == 5
    assert len(shown.stdout.splitlines()) == 2
    assert shown.stdout.isascii()


def test_a_level_beyond_one_in_a_million_is_told(tmp_path):
    """A term without a price at a level of all but 1e-16 made the unlikeliest loss the size of all: any plan passed."""
    losses, p = np.vstack([np.random.default_rng(6).lognormal(0, 1, (200, 3)), np.full(3, 1e10)]), np.full(200, 1 / 200)
    terms = [CostOfCapital(0.04, 0.06), 0.1 * CVaR(0.9, of="mutualised")]
    run = PoolProblem(Scenarios(losses, probabilities=np.append(p, 2e-16)), Waterfall(), terms).solve()
    files = {one.name: one.read_bytes() for one in run.save(tmp_path / "run").iterdir()}
    body, result = json.loads(files["certificate.json"]), json.loads(files["calibration.json"])
    body["terms"].append({"name": "CVaR 100% of mutualised", "level": 1 - 2**-53, "of": "mutualised", "price": 0.0})
    body["multipliers"]["flows"].append({"shift": 0, "scenarios": [], "root": [], "group": [], "leaf": []})
    body["scale"] = result["provenance"]["unit"] = 2.0**35
    unit, (head, *rows) = 0.1 ** body["decimals"], files["risk.csv"].decode().splitlines()
    paid = unit * np.array([int(n) for n in body["published"]])  # in the unlikeliest scenario, which is the tail
    worst = float(max((losses[-1] - paid[:3]).clip(0).sum() - paid[3], 0.0))
    empty = "," * (head.count(",") - 1)
    files["risk.csv"] = "\n".join([head, *rows, f"CVaR 100% of mutualised,{worst!r}{empty}", ""]).encode()
    files |= {"certificate.json": json.dumps(body).encode(), "calibration.json": json.dumps(result).encode()}
    assert "another term" in verify(sealed(tmp_path / "lie", files)).sentence


def conflict_of_limits():
    """A limit that no plan within the budget keeps; its certificate, which is honest."""
    problem = PoolProblem(
        Scenarios(np.random.default_rng(4).pareto(2.0, (60, 4)) + 1.0),
        Waterfall(),
        CostOfCapital(0.02, 0.05),
        [CVaR(0.9, of="mutualised") <= 0.1, Budget(0.5), fairness.ActuarialFairness(0.5)],
    )
    with pytest.raises(RuleConflictError) as caught:
        problem.solve()
    return caught.value.certificate


def resealed(folder, body, files):
    """A conflict's certificate of another make, with its seal."""
    files = {**files, "certificate.json": json.dumps(body).encode()}
    seal = "".join(f"{sha(content)}  {name}\n" for name, content in sorted(files.items()))
    for name, content in {**files, "SHA256SUMS": seal.encode()}.items():
        (folder / name).write_bytes(content)
    return verify(folder)


def test_lies_about_a_conflict_are_told(tmp_path):
    """An easier limit, another risk, a rule that everybody keeps, and a reserve that takes money away."""
    conflict_of_limits().save(tmp_path / "run")
    files = {f.name: f.read_bytes() for f in (tmp_path / "run").iterdir() if f.name != "SHA256SUMS"}
    text = files["certificate.json"].decode()
    honest = resealed(tmp_path / "run", json.loads(text), files)
    assert honest.proved, honest
    limit, easier = "CVaR 90% of mutualised <= 0.1", "CVaR 50% of shortfall <= 1,000,000"
    assert limit in text
    for lie in (text.replace(limit, easier), text.replace(limit, limit.replace("90", "10"))):
        assert "is another limit" in resealed(tmp_path / "run", json.loads(lie), files).sentence
    body = json.loads(text)
    other_rules = body | {"rules": ["ShareCap(cap=1.0)"]}
    assert "a rule without rows" in resealed(tmp_path / "run", other_rules, files).sentence
    renamed_term = body | {"terms": [one | {"name": "CVaR 10% of shortfall"} for one in body["terms"]]}
    assert "another term" in resealed(tmp_path / "run", renamed_term, files).sentence
    body["waterfall"]["stages"][-1][1] = -2000.0
    assert "an odd waterfall" in resealed(tmp_path / "run", body, files).sentence


def small_run(folder, members=("101", "102", "103"), segments=("all",)):
    """A proved run of members with numbers for names, as files."""
    rng = np.random.default_rng(5)
    pool = Scenarios(rng.lognormal(0, 1, (60, len(members) * len(segments))), members, segments)
    terms = [CostOfCapital(0.1, 0.2), CVaR(0.9, of="mutualised")]
    PoolProblem(pool, Waterfall(), terms, [fairness.Budget(9.0)]).solve().save(folder)
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def reserve_beside(files):
    name, amount = files["reserves.csv"].decode().splitlines()[1].split(",")
    return {"reserves.csv": f"reserve,contribution,amount\n{name},{amount},999999.0\n".encode()}


def names_beside(files):
    head, *rows = files["contributions.csv"].decode().splitlines()
    names = [row.split(",")[0] for row in rows][::-1]
    lines = [f"{name},{row}" for name, row in zip(names, rows, strict=True)]
    return {"contributions.csv": "\n".join([f"who,{head}", *lines, ""]).encode()}


def other_levels(files):
    result = json.loads(files["calibration.json"])
    result["index_levels"]["risk"] = 2
    return {"calibration.json": json.dumps(result).encode()}


def risk_beside(files):
    head, *rows = files["risk.csv"].decode().splitlines()
    return {"risk.csv": "\n".join([f"alias,{head}", *(f"CVaR 99.9% of mutualised,{row}" for row in rows), ""]).encode()}


@pytest.mark.parametrize("lie", [reserve_beside, names_beside, other_levels, risk_beside])
@pytest.mark.parametrize("segments", [("all",), ("fire", "flood")])
def test_columns_that_a_reader_takes_for_others_are_told(tmp_path, lie, segments):
    """What the verifier finds by its title must be what a table is read by: names first, then the amounts."""
    files = small_run(tmp_path / "honest", segments=segments)
    assert verify(sealed(tmp_path / "same", files)).proved
    verdict = verify(sealed(tmp_path / "lie", {**files, **lie(files)}))
    assert not verdict.proved
    assert verdict.sentence.startswith("rejected: ")


def rounding(rows, n):
    """Whole multipliers of equal rows whose exact sum pulls every decision: over doubles it would be zero."""
    matrix = [[*(Fraction(dict(row).get(j, 0)) for row in rows), Fraction(1000)] for j in range(n)]
    for k in range(n):
        pivot = next(i for i in range(k, n) if matrix[i][k])
        matrix[k], matrix[pivot] = matrix[pivot], matrix[k]
        matrix[k] = [one / matrix[k][k] for one in matrix[k]]
        matrix = [
            row if i == k else [a - row[k] * b for a, b in zip(row, matrix[k], strict=True)]
            for i, row in enumerate(matrix)
        ]
    return [round(row[-1]) for row in matrix]


def lies_of(body):
    """Multipliers of the blocks of a certificate: `rounding` of its equal rows, nothing of all others."""
    equal = [k for k, (_, kind, _) in enumerate(body["blocks"]) if kind == "equal"]
    lies = [[0] * len(rows) for _, _, rows in body["blocks"]]
    for k, m in zip(equal, rounding([body["blocks"][k][2][0][0] for k in equal], 4), strict=True):
        assert abs(m) > 1e15
        lies[k] = [m]
    return lies


def pool_of(files, body):
    """The scenarios as the verifier reads them."""
    with zipfile.ZipFile(io.BytesIO(files["scenarios.npz"])) as archive:
        return verifier.Pool(dict(verifier.unpacked(name, archive.read(name)) for name in archive.namelist()), body)


@pytest.fixture(scope="module")
def equal_shares(tmp_path_factory):
    """A plan with shares as they are, and the multipliers of 1e18 that make of their last digits what one likes."""
    rules = [fairness.ActuarialFairness(0.0), fairness.FundFloor(1.0)]
    pool = Scenarios(np.random.default_rng(0).lognormal(0, 1, (40, 4)))
    plan = PoolProblem(pool, Waterfall(), [CostOfCapital(0.02, 0.05), 0.3 * CVaR(0.9, of="mutualised")], rules).solve()
    folder = plan.save(tmp_path_factory.mktemp("equal") / "run")
    assert verify(folder).proved
    files = {one.name: one.read_bytes() for one in folder.iterdir()}
    body = json.loads(files["certificate.json"])
    return plan, files, body, lies_of(body)


def test_last_digits_of_rules_prove_no_bound(equal_shares):
    """Rows of shares are doubles; exactly, only no contribution keeps them all: one 2.4 times too dear was proved."""
    plan, files, _, lies = equal_shares
    body = json.loads(files["certificate.json"], **verifier.READ)
    pool = pool_of(files, body)
    dear = 3 * Fraction(plan.objective)
    assert verifier.bound(body, pool, dear) <= Fraction(plan.objective)
    body["multipliers"]["blocks"] = lies
    assert verifier.bound(body, pool, dear) < 0


def test_last_digits_of_rules_are_no_contradiction(equal_shares, tmp_path):
    """A plan keeps both rules, and "infeasible, proved" was said of them."""
    _, files, body, lies = equal_shares
    (floor,) = [k for k, (name, _, _) in enumerate(body["blocks"]) if name.startswith("FundFloor")]
    lies[floor] = [1]
    body |= {"kind": "conflict", "limits": [], "searched": [], "objective": None, "published": None, "witness": None}
    body |= {"costs": [0.0] * len(body["costs"]), "files": {"scenarios.npz": sha(files["scenarios.npz"])}}
    body["terms"] = [term | {"price": 0.0} for term in body["terms"]]
    nothing = {"shift": 0, "scenarios": [], "root": [], "group": [], "leaf": []}
    body |= {"multipliers": {"blocks": lies, "limits": [], "flows": [nothing] * len(body["terms"])}}
    (row, amount) = body["blocks"][floor][2][0]
    body["lower_bound"] = -amount
    assert {a for _, a in row} == {row[0][1]}
    verdict = resealed(tmp_path, body, {"scenarios.npz": files["scenarios.npz"]})
    assert verdict.sentence == "rejected: another contradiction"


def test_a_limit_of_nothing_has_no_room_for_any_multiplier(tmp_path):
    """Its multiplier is free, and the contributions that plans need were beyond where rounding counts."""
    pool = Scenarios(np.random.default_rng(0).lognormal(0, 1, (40, 4)))
    rules = [fairness.ActuarialFairness(0.0), CVaR(0.9, of="mutualised") <= 0.0]
    problem = PoolProblem(pool, Waterfall((OwnContribution(),)), [CostOfCapital(0.02, 0.05)], rules)
    folder = problem.solve().save(tmp_path / "run")
    assert verify(folder).proved
    files = {one.name: one.read_bytes() for one in folder.iterdir()}
    body = json.loads(files["certificate.json"])
    lies = lies_of(body)
    body |= {"kind": "conflict", "objective": None, "costs": [0.0] * len(body["costs"])}
    body["terms"] = [term | {"price": 0.0} for term in body["terms"]]
    whole, n = 1 << 10, len(pool)
    flows = {"shift": 10, "scenarios": [*range(n)], "root": [whole] * n, "group": [[]] * n, "leaf": [[whole] * 4] * n}
    body["multipliers"] = {"blocks": lies, "limits": [1e15], "flows": [flows]}
    exact = json.loads(json.dumps(body), **verifier.READ)
    assert verifier.bound(exact, pool_of(files, exact), None) < 0  # it was 248.8: infeasible, proved
