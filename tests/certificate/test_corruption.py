"""A thousand random corruptions of result, certificate and scenarios, sealed again or not: none is a proof."""

import csv
import io
import json
import shutil

import numpy as np
import pytest

from calibrate import verify

from .conftest import forge, reseal

SAVED = ("calibration.json", "certificate.json", "scenarios.npz", "SHA256SUMS", "contributions.csv", "reserves.csv")


@pytest.fixture(scope="module", params=["rich", pytest.param("plain", marks=pytest.mark.slow)])
def saved(request, tmp_path_factory):
    folder = request.getfixturevalue(request.param).save(tmp_path_factory.mktemp("saved") / "run")
    assert verify(folder).proved, verify(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    def anew():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return shutil.copytree(saved, tmp_path / "run")

    return anew


def flip(rng, path):
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    path.write_bytes(bytes(content))


def numbers(tree, path=()):
    """Where the numbers of a JSON document are, decimal strings included."""
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [found for key, item in items for found in numbers(item, (*path, key))]
    is_number = isinstance(tree, int | float) or (isinstance(tree, str) and tree.lstrip("-").isdigit())
    return [path] if is_number and not isinstance(tree, bool) else []


def moved(rng, value, least):
    """Another number of the same kind, by at least this share of it."""
    if isinstance(value, str):
        return str(moved(rng, int(value), least))
    if isinstance(value, int):
        return value + int(rng.choice([-1, 1])) * max(1, round(abs(value) * rng.choice([least, 1e-3, 0.5])))
    return rng.choice([0.0, -value, value * 1.5, value * (1 + least), value + 1.0]).item()


def alter(rng, path, at, least):
    tree = json.loads(path.read_text(encoding="utf-8"))
    *parents, last = at
    node = tree
    for key in parents:
        node = node[key]
    before = node[last]
    while node[last] == before:
        node[last] = moved(rng, before, least)
    path.write_text(json.dumps(tree, ensure_ascii=False) + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", SAVED)
def test_flipped_bits(name, copied):
    rng = np.random.default_rng(len(name))
    folder = copied()
    whole = (folder / name).read_bytes()
    for _ in range(40):
        flip(rng, folder / name)
        assert not verify(folder).proved
        (folder / name).write_bytes(whole)


def test_cut_off(copied):
    rng = np.random.default_rng(1)
    folder = copied()
    for name in SAVED:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: rng.integers(len(whole) - 1)])
        assert not verify(folder).proved
        (folder / name).write_bytes(whole)


def test_any_number_of_the_certificate_sealed_again(copied):
    """The result knows its certificate by its hash."""
    rng = np.random.default_rng(2)
    folder = copied()
    whole = (folder / "certificate.json").read_text(encoding="utf-8")
    places = numbers({key: value for key, value in json.loads(whole).items() if key != "files"})
    for k in rng.choice(len(places), 100):
        (folder / "certificate.json").write_text(whole, encoding="utf-8")
        alter(rng, folder / "certificate.json", places[k], least=1e-15)
        reseal(folder)
        assert not verify(folder).proved, places[k]


def test_any_loss_or_probability_sealed_again(copied):
    """The certificate knows its scenarios by their hash."""
    rng = np.random.default_rng(3)
    folder = copied()
    whole = (folder / "scenarios.npz").read_bytes()
    for _ in range(40):
        flip(rng, folder / "scenarios.npz")
        reseal(folder)
        assert not verify(folder).proved
        (folder / "scenarios.npz").write_bytes(whole)


def decisive(body):
    """What the mathematics reads: numbers that no hash has to hold."""
    flows = body["multipliers"]["flows"]
    at = [("published", j) for j in range(len(body["published"])) if body["published"][j] != "0"]
    at += [("costs", j) for j in range(len(body["costs"])) if body["published"][j] != "0"]
    at += [("objective",), ("lower_bound",), ("scale",), ("tolerance",)]
    large = [[s for s, root in enumerate(flow["root"]) if root >> (flow["shift"] - 20)] for flow in flows]
    at += [("multipliers", "flows", k, "root", s) for k in range(len(flows)) for s in large[k]]
    at += [("terms", k, "price") for k in range(len(flows)) if body["terms"][k]["price"] > 0]
    at += [("waterfall", "own", j) for j in range(len(body["waterfall"]["own"])) if body["published"][j] != "0"]
    return at


@pytest.mark.slow
def test_decisive_numbers_with_every_hash_forged(copied):
    """Here only arithmetic is left: what is claimed does not follow any more.

    By a ten-thousandth at least: less than the published unit, and it would be another certificate that is true.
    """
    rng = np.random.default_rng(4)
    folder = copied()
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    places = decisive(json.loads(whole["certificate.json"]))
    for k in rng.choice(len(places), 80):
        alter(rng, folder / "certificate.json", places[k], least=1e-4)
        forge(folder)
        verdict = verify(folder)
        assert not verdict.proved, (places[k], verdict)
        for name, content in whole.items():
            (folder / name).write_bytes(content)


def scenario_arrays(path):
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def test_losses_and_probabilities_with_every_hash_forged(copied):
    """Every loss counts in the mean loss of its member, every probability in all of them."""
    rng = np.random.default_rng(5)
    folder = copied()
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    arrays = scenario_arrays(folder / "scenarios.npz")
    segments = len(json.loads(whole["certificate.json"])["segments"])
    for _ in range(40):
        name = rng.choice(["data", "probabilities", "indices"])
        changed = arrays[name].copy()
        k = rng.integers(len(changed))
        changed[k] = changed[k] * 1.01 if name != "indices" else changed[k] + segments
        np.savez(folder / "scenarios.npz", **{**arrays, name: changed})
        forge(folder)
        assert not verify(folder).proved, (name, k)
        for file, content in whole.items():
            (folder / file).write_bytes(content)


CLAIMED = {
    "contributions.csv": ["contribution"],
    "reserves.csv": ["amount"],
    "members.csv": ["member", "weight", "sampled_loss"],
    "fairness.csv": ["rule"],
}


def test_what_the_result_claims_with_every_hash_forged(copied):
    rng = np.random.default_rng(6)
    folder = copied()
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    for name, columns in CLAIMED.items():
        for column in columns:
            for _ in range(4):
                rows = list(csv.DictReader(io.StringIO(whole[name].decode(), newline="")))
                row = rows[rng.integers(len(rows))]
                try:
                    row[column] = repr(float(row[column]) * (1 + 1e-6) + 1e-3)
                except ValueError:
                    row[column] += "x"
                out = io.StringIO(newline="")
                writer = csv.DictWriter(out, list(row), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
                (folder / name).write_text(out.getvalue(), encoding="utf-8")
                forge(folder)
                assert not verify(folder).proved, (name, row)
                for file, content in whole.items():
                    (folder / file).write_bytes(content)
    for key in ("objective", "lower_bound", "currency"):
        result = json.loads(whole["calibration.json"])
        result[key] = result[key] * 1.001 if key != "currency" else "EUR"
        (folder / "calibration.json").write_text(json.dumps(result), encoding="utf-8")
        forge(folder)
        assert not verify(folder).proved, key
        (folder / "calibration.json").write_bytes(whole["calibration.json"])
