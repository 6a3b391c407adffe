"""Auto-PGD against the library of its authors, from the same start."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks._starts import RandomStarts
from kdbench.attacks.auto_pgd import _Way, auto_pgd, checkpoints
from kdbench.attacks.objective import OBJECTIVES, likeliest_wrong
from kdbench.errors import KdbenchError
from tests.attacks.small_models import curved, labelled, some_images

library = pytest.importorskip("pyautoattack.autopgd_base")
EPS = 0.012


def start_of(images: Tensor, eps: float = EPS) -> Tensor:
    return RandomStarts(3, eps, torch.device("cpu")).of(torch.arange(len(images)), images)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("targeted-dlr", "dlr-targeted"), ("dlr", "dlr"), ("cross-entropy", "ce")]
)
@pytest.mark.parametrize("steps", [100, 30])
def test_candidates_are_the_librarys_bit_for_bit(
    ours: str, theirs: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = _Way.note

    def as_the_library_does(way: _Way, logits: Tensor) -> None:
        note(way, logits)
        way._value = way._value if way._taken else torch.zeros_like(way._value)  # it compares the first step with 0

    monkeypatch.setattr(_Way, "note", as_the_library_does)
    model, images = curved().requires_grad_(False), some_images(24)
    labels, start = labelled(model, images, wrong=1000), start_of(images)
    targets = likeliest_wrong(model(images), labels, 0)
    kind = library.APGDAttack_targeted if theirs == "dlr-targeted" else library.APGDAttack
    attack = kind(model, n_iter=steps, eps=EPS, seed=0, device="cpu")
    attack.loss, attack.y_target = theirs, targets
    attack.init_hyperparam(images)
    best, right, _, _ = attack.attack_single_run(images, labels, x_init=start)
    found = auto_pgd(
        model, images, labels, start, eps=EPS, steps=steps, objective=OBJECTIVES[ours],
        targets=targets if OBJECTIVES[ours].targeted else None,
    )  # fmt: skip
    standing = right.bool()
    assert 4 < standing.sum() < 20
    assert torch.equal(model(found).argmax(1) == labels, standing)
    assert torch.equal(found[standing], best[standing])
    assert not torch.equal(found[standing], start[standing])
    assert float((found - images).abs().max()) <= EPS + 1e-6


def test_an_image_alone_fares_as_among_others() -> None:
    model, images = curved().double().requires_grad_(False), some_images(9)
    labels, start = labelled(curved(), images, wrong=1000), start_of(images)

    class Wide(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            logits: Tensor = model(pixels.double())
            return logits

    asked: dict[str, Any] = {"eps": EPS, "steps": 40, "objective": OBJECTIVES["dlr"]}
    together = auto_pgd(Wide(), images, labels, start, **asked)
    alone = [auto_pgd(Wide(), images[[k]], labels[[k]], start[[k]], **asked) for k in range(9)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def test_broken_images_leave() -> None:
    model, images, seen = curved().requires_grad_(False), some_images(24), []
    labels = labelled(model, images, wrong=1000)

    def watched(pixels: Tensor) -> Tensor:
        seen.append(len(pixels))
        logits: Tensor = model(pixels)
        return logits

    auto_pgd(watched, images, labels, start_of(images, 0.3), eps=0.3, steps=100, objective=OBJECTIVES["dlr"])
    assert seen[0] == 24
    assert len(seen) < 100, "all are broken, and nothing is left to do"
    assert sorted(seen, reverse=True) == seen


def test_the_periods_are_those_of_the_library() -> None:
    for steps in (1, 2, 7, 20, 50, 100, 200):
        period, since, expected = max(int(0.22 * steps), 1), 0, {}
        for step in range(1, steps + 1):
            since += 1
            if since == period:
                expected[step], since = period, 0
                period = max(period - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
        assert checkpoints(steps) == expected


def test_logits_that_are_no_numbers_are_an_error() -> None:
    images = some_images(3)
    with pytest.raises(KdbenchError, match="not finite"):
        auto_pgd(
            lambda pixels: pixels.flatten(1)[:, :5] * torch.nan, images, torch.zeros(3).long(), images, eps=0.1,
            steps=2, objective=OBJECTIVES["dlr"],
        )  # fmt: skip
