"""Attacks on image classifiers, in [0, 1] pixels under the L-infinity norm: our own, and those of two libraries.

``run`` runs any registered attack by name. ``pgd`` is the engine behind the standard measurements, with more to read
off; ``transfer`` judges one model by another's examples.
"""

from kdbench.attacks._result import AttackResult, PGDResult
from kdbench.attacks.best_iterate import pgd_best_iterate
from kdbench.attacks.fast_tier import autoattack_fast
from kdbench.attacks.libraries.autoattack import apgd, autoattack
from kdbench.attacks.libraries.torchattacks import torchattacks
from kdbench.attacks.objective import OBJECTIVES, Objective
from kdbench.attacks.pgd import pgd, pgd_attack
from kdbench.attacks.run import run
from kdbench.attacks.spec import AttackContext, AttackSpec, attack, find_attack
from kdbench.attacks.transfer import TransferResult, judge_transfer, transfer
from kdbench.inference.model import Model
from kdbench.inference.prediction import frozen, is_random

__all__ = [
    "OBJECTIVES",
    "AttackContext",
    "AttackResult",
    "AttackSpec",
    "Model",
    "Objective",
    "PGDResult",
    "TransferResult",
    "attack",
    "builtin_specs",
    "find_attack",
    "frozen",
    "is_random",
    "judge_transfer",
    "pgd",
    "pgd_best_iterate",
    "run",
    "transfer",
]


def builtin_specs() -> list[AttackSpec]:
    """The attacks that come with kdbench."""
    return [pgd_attack, apgd, autoattack, autoattack_fast, torchattacks]
