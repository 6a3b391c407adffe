"""The fast tier of AutoAttack against the whole: how much sooner, and on how many images they disagree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kdbench.attacks import run
from tests.benchmarks.networks import cifar10, hardened, some, trained


@pytest.mark.parametrize(
    ("which", "eps"), [("plain", 2 / 255), ("adversarially trained", 8 / 255)], ids=["plain", "robust"]
)
def test_against_the_whole(side_by_side: Callable[..., float], data_dir: Path, which: str, eps: float) -> None:
    """One round: the whole takes minutes."""
    model = trained(data_dir, 10, 1) if which == "plain" else hardened(data_dir)
    images, labels = some(cifar10(data_dir).test.test, 1000)
    robust: dict[str, torch.Tensor] = {}
    facts: dict[str, float | int | str] = {}

    def attack(name: str) -> None:
        result = run(name, model, images, labels, eps=eps)
        robust[name] = result.robust
        facts[f"accuracy, {name}"] = round(result.robust_accuracy(), 4)
        if len(robust) == 2:
            fast, whole = robust["autoattack-fast"], robust["autoattack"]
            facts["broken by the whole alone"], facts["by the tier alone"] = (
                int((fast & ~whole).sum()),
                int((whole & ~fast).sum()),
            )

    side_by_side(
        f"fast tier of AutoAttack, {which} network, eps {255 * eps:.0f}/255",
        lambda: attack("autoattack-fast"),
        lambda: attack("autoattack"),
        peer_name="AutoAttack, version standard, same model and images", n=len(images), reach="at least 4x",
        device=torch.device("cpu"), facts=facts, warm_up=False, rounds=1,
    )  # fmt: skip
    disagree = robust["autoattack-fast"] != robust["autoattack"]
    assert int(disagree.sum()) <= len(images) / 1000, ".1 point"
