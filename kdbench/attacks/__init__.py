"""Attacks on image classifiers, in [0, 1] pixels under the L-infinity norm: our own, and those of two libraries."""

from kdbench.attacks._result import PGDResult
from kdbench.attacks.best_iterate import pgd_best_iterate
from kdbench.attacks.libraries.autoattack import auto_attack
from kdbench.attacks.libraries.library import LibraryResult, check_attack, library_attack
from kdbench.attacks.libraries.torchattacks import torchattacks_examples
from kdbench.attacks.pgd import pgd
from kdbench.attacks.transfer import TransferResult, judge_transfer, transfer
from kdbench.inference.prediction import Model, frozen, is_random

__all__ = [
    "LibraryResult",
    "Model",
    "PGDResult",
    "TransferResult",
    "auto_attack",
    "check_attack",
    "frozen",
    "is_random",
    "judge_transfer",
    "library_attack",
    "pgd",
    "pgd_best_iterate",
    "torchattacks_examples",
    "transfer",
]
