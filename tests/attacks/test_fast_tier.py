"""The fast tier of AutoAttack: nearest classes, known answers, and the whole attack."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdbench.attacks import find_attack, run
from kdbench.attacks.fast_tier import autoattack_fast
from kdbench.attacks.nearest_targets import nearest_targets
from kdbench.errors import KdbenchError
from kdbench.testing import check_attack
from tests.attacks.small_models import Linear, curved, labelled, reach, some_images


@pytest.mark.parametrize("classes", [10, 130])
def test_targets_are_ordered_by_their_distance(classes: int) -> None:
    """Of a linear model by NumPy: margin over the L1 norm of the difference of weights."""
    model, images = Linear(classes), some_images(20)
    labels = labelled(model, images, classes, wrong=1000)
    weight = model.weight.detach().double().numpy()
    logits = images.double().flatten(1).numpy() @ weight.T + model.bias.detach().double().numpy()
    found = nearest_targets(model, images, labels, 7)
    assert found.shape == (20, 7)
    differs = 0
    for row, y, targets in zip(logits, labels.numpy(), found.numpy(), strict=True):
        likely = [t for t in np.argsort(-row) if t != y][:100]
        distance = {t: (row[y] - row[t]) / np.abs(weight[y] - weight[t]).sum() for t in likely}
        assert targets.tolist() == sorted(likely, key=distance.__getitem__)[:7]
        differs += targets.tolist() != likely[:7]
    assert differs > 5, "the order of the logits is another one"


def test_a_class_without_a_gradient_comes_last() -> None:
    def model(pixels: torch.Tensor) -> torch.Tensor:
        z = pixels.flatten(1)[:, :3]
        return torch.stack([z[:, 0] + 2, z[:, 0] + 1.9, z[:, 1], z[:, 2]], 1)  # the second moves with the first

    images = some_images(5, low=0.4, high=0.6)
    found = nearest_targets(model, images, torch.zeros(5).long(), 9)
    assert found.shape == (5, 3)
    assert found[:, -1].tolist() == [1] * 5


@pytest.mark.parametrize("classes", [10, 4])
def test_a_linear_model_falls_exactly_where_its_margins_say(classes: int) -> None:
    model, images = Linear(classes), some_images(60, low=0.3, high=0.7)
    labels = labelled(model, images, classes)
    radii = reach(model, images, labels)
    eps = float(np.sort(radii)[36] + np.sort(radii)[37]) / 2
    for targets in (1, 4):  # to first order is exactly: the nearest is enough
        result = run(autoattack_fast, model, images, labels, eps=eps, options={"targets": targets})
        assert np.array_equal(result.clean_correct.numpy(), radii > 0)
        assert np.array_equal(result.robust.numpy(), radii > eps)


def test_it_leaves_what_the_first_half_of_autoattack_leaves() -> None:
    """Of the whole: ``tests/benchmarks``."""
    pytest.importorskip("pyautoattack")
    model, images = curved(), some_images(16)
    labels = labelled(model, images)
    fast, whole = (run(name, model, images, labels, eps=0.008) for name in ("autoattack-fast", "apgd"))
    assert 2 < whole.robust.sum() < 12
    assert torch.equal(fast.robust, whole.robust)


def test_batches_decide_nothing() -> None:
    model, images = curved(), some_images(9)
    labels = labelled(model, images)
    asked: dict[str, Any] = {"eps": 0.012, "options": {"targets": 2, "steps": 10}}
    parts, whole = (run(autoattack_fast, model, images, labels, batch_size=size, **asked).examples for size in (4, 9))
    assert torch.allclose(parts, whole, atol=1e-6)


def test_its_setting_names_the_tier() -> None:
    model, images = curved(), some_images(6)
    result = run("autoattack-fast", model, images, labelled(model, images), eps=0.01, options={"steps": 7})
    assert result.setting == {"attack": "autoattack-fast", "eps": 0.01, "targets": 4, "steps": 7}
    assert find_attack("autoattack-fast").tier_of == "autoattack"


def test_it_conforms_and_needs_four_classes() -> None:
    check_attack(autoattack_fast, options={"steps": 5})
    with pytest.raises(KdbenchError, match="needs 4 classes, found 3"):
        autoattack_fast.check_classes({}, 3)
    for options in ({"targets": 0}, {"steps": 0}):
        with pytest.raises(KdbenchError, match=f"option '{next(iter(options))}'|{next(iter(options))}"):
            autoattack_fast.check(options)
