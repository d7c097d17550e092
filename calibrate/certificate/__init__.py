"""The proof that travels with an answer, and its verifier. Imports nothing of the rest."""

from calibrate.certificate.verifier import Verdict, verify

__all__ = ["Verdict", "verify"]
