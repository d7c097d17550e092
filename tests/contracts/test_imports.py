"""The import contract holds, and what it cannot say: no distribution in the program, no optimiser for a model."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_import_contract_is_kept():
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "calibrate/program").rglob("*.py")), ids=lambda path: path.name)
def test_the_program_knows_no_distribution(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert not [name for name in names if name.startswith(("scipy.stats", "calibrate.models", "sklearn"))]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("calibrate", "pandas"),
        ("calibrate.models", "cvxpy"),
        ("calibrate.datasets", "cvxpy"),
        ("calibrate.operations.config", "cvxpy"),
    ],
)
def test_what_is_not_needed_is_not_loaded(module, absent):
    code = f"import sys, {module}; print({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
