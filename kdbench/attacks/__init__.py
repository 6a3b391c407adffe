"""Gradient attacks on image classifiers, in [0, 1] pixels under the L-infinity norm."""

from kdbench.attacks._result import PGDResult
from kdbench.attacks.best_iterate import pgd_best_iterate
from kdbench.attacks.pgd import pgd
from kdbench.attacks.transfer import TransferResult, judge_transfer, transfer
from kdbench.inference import Model, frozen

__all__ = [
    "Model",
    "PGDResult",
    "TransferResult",
    "frozen",
    "judge_transfer",
    "pgd",
    "pgd_best_iterate",
    "transfer",
]
