"""The notebooks: executed from the first cell to the last, the public face only, no outputs kept."""

import ast
import os
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import calibrate
import calibrate.datasets

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
DEFI, FDIC = DATA / "defi/events.csv", DATA / "fdic/failures_1991_2022.csv"
FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PUBLIC = {*calibrate.__all__, "datasets", "reporting"}
SECONDS = 240  # of a loaded machine; a quiet one needs a fraction of it


def code(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    lines = "\n".join(cells).splitlines()
    return "\n".join(line for line in lines if not line.startswith("%"))


def foreign(source):
    """Imports of this package that go past its public face, and uses of private names."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("calibrate.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "calibrate":
            found += [
                f"{node.module}.{alias.name}"
                for alias in node.names
                if node.module != "calibrate" or alias.name not in PUBLIC
            ]
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            found.append(node.attr)
    return found


def run(path, replace=("", "")):
    """The text that the notebook's cells print or show, `replace` (old, new) done in their source."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace(*replace) if replace[0] else cell.source
    client = NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute(env={**os.environ, "OMP_NUM_THREADS": "1"})
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(texts)


def test_the_notebooks_are_there():
    assert {"quickstart.ipynb", "crypto_venue.ipynb", "defi_mutual.ipynb", "fdic_guaranty.ipynb"} <= {
        path.name for path in NOTEBOOKS
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_kept(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_the_public_face(path):
    assert foreign(code(path)) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from calibrate.program.extensive import solve", ["calibrate.program.extensive.solve"]),
        ("import calibrate.records", ["calibrate.records"]),
        ("from calibrate import intake", ["calibrate.intake"]),
        ("history._losses", ["_losses"]),
        ("from calibrate import LossHistory, reporting", []),
    ],
)
def test_the_check_finds_what_is_not_public(source, found):
    assert foreign(source) == found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_says_what_the_data_cannot_support(path):
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert "cannot support" in "\n".join(texts)


@pytest.mark.slow
def test_crypto_venue():
    text = run(FOLDER / "crypto_venue.ipynb")  # its assertions hold the fits against the truth
    assert "20 members x 3 segments" in text
    assert "scenarios of the true process" in text
    assert "0.12        0.097           0.013        4.0       14.293" in text  # what its text says of exploits
    assert "-1.00   2.39" in text
    assert "58 losses are too few for a tail (expected 200); its form is that of all segments" in text
    assert "events hit members together: SharedShock is likelier than NegativeBinomial" in text


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("chainladder") is None, reason="chainladder is not installed: pip install 'calibrate[cas]'"
)
def test_quickstart():
    path = FOLDER / "quickstart.ipynb"
    assert len(nbformat.read(path, as_version=4).cells) == 10
    text = run(path)
    assert "46 members" in text
    assert "ShareCap" in text  # the conflict is named
    assert "True SHA256SUMS" in text  # saved and loaded again


def check_mutual(text):
    assert "of 12 months above the 90 % quantile" in text
    assert "expected loss of a month (closed form)" in text
    assert "in its worst 5 % of months" in text
    assert "committee.html" in text


@pytest.mark.skipif(not DEFI.is_file(), reason="the DeFi events are not beside the checkout: ../shared/data/defi")
@pytest.mark.slow
def test_defi_mutual_on_defi_events():
    text = run(FOLDER / "defi_mutual.ipynb")
    assert "data: events.csv" in text
    assert "4.129            0.738" in text  # months of the whole file scatter fourfold and remember each other
    assert "chosen: Elastic" in text  # what the notebook says of the frequency
    assert "Lending, without a cap, is refused" in text  # and of the tail
    assert "tail of shape 1.067 (>= 1) has a finite mean only because losses are capped" in text
    assert "0 of 12 months above" in text  # and of 2024
    assert "cannot tell" in text
    check_mutual(text)


@pytest.mark.skipif(not FDIC.is_file(), reason="the bank failures are not beside the checkout: ../shared/data/fdic")
@pytest.mark.slow
def test_fdic_guaranty():
    """The figures that its text speaks of."""
    text = run(FOLDER / "fdic_guaranty.ipynb")
    assert "4 members x 1 segments, 64 periods 1991Q1 to 2006Q4, 355 events" in text
    assert "an event brings 0.91 more, 52.4 days later in the mean; scenarios start at the end of 2006Q4" in text
    anew, by_class, one_law = text[text.index("every quarter anew") :].split("mean joint score")[:3]
    assert anew.count("rejected") == 4  # of the model without memory
    assert (by_class.count("rejected"), one_law.count("cannot tell")) == (4, 4)  # of those with it
    assert "p_worse=0.845" in text
    assert "worst three years seen                        61.9 bn" in text
    assert "three years, 99.9 % quantile, quarters anew   75.6 bn" in text
    assert "committee.html" in text


OWN = 'Path("..", "..", "shared", "data", "defi", "events.csv")'


@pytest.mark.slow
def test_defi_mutual_on_the_synthetic_venue():
    text = run(FOLDER / "defi_mutual.ipynb", replace=(OWN, 'Path("missing.csv")'))
    assert "data: synthetic venue (EVENTS not found)" in text
    check_mutual(text)


@pytest.mark.slow
def test_defi_mutual_on_an_event_file_of_one_s_own(tmp_path):
    """Three desks, a row a loss; exposures.csv beside it."""
    venue = calibrate.datasets.load_crypto_venue()
    exposures = venue.exposures.T.groupby("member").first().T.iloc[:, :3]
    exposures.to_csv(tmp_path / "exposures.csv")
    venue.events[["date", "member", "loss"]].to_csv(tmp_path / "my losses.csv", index=False)
    text = run(FOLDER / "defi_mutual.ipynb", replace=(OWN, f'Path("{tmp_path.as_posix()}", "my losses.csv")'))
    assert "data: my losses.csv" in text
    assert "3 members" in text
    check_mutual(text)
