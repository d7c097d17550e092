"""What rules and costs may be called: names stand in tables, and the verifier reads them."""

from __future__ import annotations

from calibrate.certificate.verifier import RISKS
from calibrate.errors import ProblemError

__all__ = ["check_name", "one_line"]


def one_line(text: str) -> str:
    """Text with single spaces for what numpy fills up and wraps.

    >>> one_line("Weighted(array([ 0.5,\\n       10. ,  2. ]))")
    'Weighted(array([ 0.5, 10. , 2. ]))'
    """
    return " ".join(text.split())


def check_name(what: str, name: str) -> None:
    """ProblemError for a name that is no line as it is seen, or reads like that of a limit or a risk."""
    if name != one_line(name) or not name or not name.isprintable():
        raise ProblemError(
            f"a {what} is called {name!r}, expected one line that shows as it is, single spaces; change its __str__"
        )
    other = next((one for one in RISKS if one in name), None)
    if other is not None:
        raise ProblemError(
            f"a {what} is called {name!r}, but {other!r} is how limits and risks are called; change its __str__"
        )
