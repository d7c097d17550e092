"""The proof that travels with an answer, and its verifier. Imports nothing of the rest.

`certificate.json`, all money in `currency`, numbers exactly the doubles they stand for:

    members, segments, reserves   names of the decisions: contributions by member and segment, then the reserves
    scenarios                     SHA-256 of scenarios.npz
    waterfall                     own: what a unit of each contribution pays; stages: rows of what segments, pool pay
    costs, terms                  the objective: sum costs * decisions + sum price * CVaR_level of a kind of loss
    rules                         names of rules and limits
    searched                      those of which only some rows are written: that no other is broken was searched
    blocks                        the rules row by row: [name, "at_most" | "equal" | "cone", rows]; a row is
                                  [[[column, number], ...], amount]; in a cone `amount - sum` of the first row is at
                                  least the Euclidean norm of those of the others; columns beyond the decisions are
                                  `auxiliary` variables
    limits                        row + sum risks * CVaR <= amount
    decimals, published, witness  decisions as integers of 10^-decimals, auxiliary variables of 10^-(decimals + 9)
    multipliers                   of blocks and limits, and for each term its flows, integers over 2^shift, by scenario:
                                  root, group by segment (empty: as the root), leaf by positive loss
    objective, lower_bound        what the plan costs, what the multipliers prove; `tolerance` of the gap, relative to
                                  the objective or to a millionth of `scale`, the size of the losses. Rows are doubles:
                                  a plan is held to one, and the bound counts it, but for a published unit and 2^-40
                                  of itself for each decision in it, and 2^-40 of the amount
    kind                          "plan", or "conflict": rules that no plan keeps, with no objective
    files                         SHA-256 of the files beside it; calibration.json holds the hash of all the rest of it
"""

from calibrate.certificate.verifier import Verdict, verify

__all__ = ["Verdict", "verify"]
