"""What an attack leaves behind: nothing. And what it needs: full precision, enough memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks import frozen, pgd, pgd_best_iterate
from kdbench.errors import KdbenchError
from kdbench.inference.batching import in_batches
from kdbench.inference.precision import full_precision


def run(model: Any, problem: Any, **changes: Any) -> Tensor:
    setting = {"eps": 0.01, "step_size": 0.005, "steps": 2, "keep_examples": True} | changes
    examples = pgd(model, problem.images, problem.labels, **setting).examples
    assert examples is not None
    return examples


def state_of(model: nn.Module) -> list[Any]:
    modes = [module.training for module in model.modules()]
    flags = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    return [modes, flags]


def test_modes_and_gradient_flags_come_back_one_by_one(problem: Any) -> None:
    model = problem.model.train()
    model[2].eval()
    model[1].weight.requires_grad_(False)
    before, numbers = state_of(model), {name: value.clone() for name, value in model.state_dict().items()}
    run(model, problem)
    pgd_best_iterate(model, problem.images, problem.labels, steps=1)
    assert state_of(model) == before
    for name, value in model.state_dict().items():  # batch normalisation's averages stand still too
        assert torch.equal(value, numbers[name])


def test_modes_come_back_after_a_failure(problem: Any) -> None:
    problem.model.train()
    before = state_of(problem.model)
    with pytest.raises(KdbenchError):
        run(problem.model, problem, steps=1, start=None, full_restarts=torch.tensor([99]))
    problem.model[8] = nn.Linear(72, 1).double()
    problem.model.train()
    with pytest.raises(KdbenchError, match="1 classes"):
        run(problem.model, problem)
    assert state_of(problem.model)[0] == before[0]


def test_a_training_model_is_attacked_in_eval_mode(problem: Any) -> None:
    evaluated = run(problem.model.eval(), problem)
    assert torch.equal(run(problem.model.train(), problem), evaluated)


def test_the_model_is_frozen_meanwhile(problem: Any) -> None:
    problem.model.train()
    with frozen(problem.model):
        assert not any(module.training for module in problem.model.modules())
        assert not any(parameter.requires_grad for parameter in problem.model.parameters())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_where_the_caller_switched_gradients_off(problem: Any, context: Any) -> None:
    expected = run(problem.model, problem)
    with context():
        images = problem.images.clone()
        result = pgd(problem.model, images, problem.labels.clone(), eps=0.01, step_size=0.005, steps=2,
                     keep_examples=True)  # fmt: skip
        assert torch.equal(result.examples, expected)


def test_autocast_is_off_inside(problem: Any) -> None:
    kinds: set[torch.dtype] = set()
    layers = problem.model[1:].float().eval()

    def model(images: Tensor) -> Tensor:
        logits: Tensor = layers(images)
        kinds.add(logits.dtype)
        return logits

    with torch.autocast("cpu", dtype=torch.bfloat16):
        run(model, problem)
    assert kinds == {torch.float32}


def test_half_precision_logits_are_scored_in_float32() -> None:
    """A bfloat16 model's logits differ by 1/128 at best; its cross-entropy must not be rounded again."""

    def model(images: Tensor) -> Tensor:
        return 2 * images.flatten(1)[:, :2].bfloat16()

    result = pgd(model, torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1]), eps=0.1, step_size=0.1, steps=1,
                 start="zero")  # fmt: skip
    assert result.robust[1].tolist() == [False, False]


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_reduced_float32_products_are_off_inside_and_back_afterwards(precision: str) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        flags = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        with full_precision(torch.device("cpu")):
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        assert torch.get_float32_matmul_precision() == precision
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == flags
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_full_device_halves_the_batch_and_keeps_every_image() -> None:
    tried: list[int] = []

    def work(part: Tensor) -> Tensor:
        tried.append(len(part))
        if len(part) > 3:
            raise torch.OutOfMemoryError
        return part * 2

    found = list(in_batches(work, torch.arange(11), 10))
    assert torch.equal(torch.cat([part for part, _ in found]), torch.arange(11))
    assert torch.equal(torch.cat([result for _, result in found]), torch.arange(11) * 2)
    assert tried == [10, 5, 2, 2, 2, 2, 2, 1]


def test_a_single_image_that_does_not_fit_is_an_error() -> None:
    def work(part: Tensor) -> Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        list(in_batches(work, torch.arange(4), 4))


def test_an_attack_survives_a_full_device(problem: Any) -> None:
    def model(images: Tensor) -> Tensor:
        if len(images) > 10:
            raise torch.OutOfMemoryError
        logits: Tensor = problem.model.eval()(images)
        return logits

    assert torch.allclose(run(model, problem), run(problem.model, problem), rtol=0, atol=1e-6)
