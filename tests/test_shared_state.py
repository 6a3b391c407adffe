from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import kdbench.losses
from kdbench.shared_state import SharedState, SharedStateError, left_alone


def replace(where: Any, name: str) -> None:
    setattr(where, name, lambda *args: 0)


def other_code() -> None:
    nn.functional.relu.__code__ = (lambda input, inplace=False: input).__code__


CHANGES: list[tuple[Callable[[], Any], str]] = [
    (lambda: torch.set_num_threads(torch.get_num_threads() + 1), r"torch's threads: \d before, \d now"),
    (lambda: torch.set_default_dtype(torch.float64), "default dtype: torch.float32 before, torch.float64 now"),
    (lambda: torch.set_default_device("meta"), "default device: cpu before, meta now"),
    (lambda: torch.set_grad_enabled(False), "records gradients: True before, False now"),
    (lambda: torch.use_deterministic_algorithms(True), "deterministic algorithms"),
    (lambda: torch.set_float32_matmul_precision("medium"), "precision of products"),
    (lambda: torch.autograd.set_detect_anomaly(True), "anomaly detection"),
    (lambda: setattr(torch.backends.cudnn, "benchmark", True), "torch.backends.cudnn"),
    (lambda: replace(nn.functional, "cross_entropy"), r"torch\.nn\.functional\.cross_entropy was replaced"),
    (lambda: replace(nn.Linear, "forward"), r"torch\.nn\.modules\.linear\.Linear\.forward was replaced"),
    (other_code, r"torch\.nn\.functional\.relu has other code"),
    (lambda: replace(kdbench.losses, "kl_divergence"), r"kdbench\.losses\.kl_divergence was replaced"),
    (lambda: replace(torch.Tensor, "__repr__"), r"torch\.Tensor\.__repr__ was replaced"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[words for _, words in CHANGES])
def test_what_is_shared_is_put_back_and_who_changed_it_is_named(change: Callable[[], Any], words: str) -> None:
    before = SharedState.take()
    said = f"^plugin 'x' changed what all code of the process shares: .*{words}"
    with pytest.raises(SharedStateError, match=said), left_alone("plugin 'x'"):
        change()
    assert before.undo() == []


@pytest.mark.parametrize(("change", "words"), CHANGES[:1])
def test_an_exception_stays_what_it_is_and_a_check_in_between_counts(change: Callable[[], Any], words: str) -> None:
    before = SharedState.take()
    with pytest.raises(ZeroDivisionError), left_alone("plugin 'x'"):
        change()
        raise ZeroDivisionError
    assert before.undo() == []
    reached = False
    with pytest.raises(SharedStateError, match=words), left_alone("plugin 'x'") as check:
        check()
        change()
        check()
        reached = True
    assert not reached


def test_what_torch_does_to_itself_is_no_change() -> None:
    import torch.optim.adamax as some

    with left_alone("torch"):
        network = nn.Linear(2, 2)
        optimizer = some.Adamax(network.parameters())  # its first instance wraps the step of the class
        network(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        torch.compiler.disable(network)  # type: ignore[no-untyped-call]  # torch leaves it untyped; loads the compiler, which wraps functions of torch
    with left_alone("somebody who restores it"):
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            network(torch.ones(1, 2))
        torch.set_num_threads(threads := torch.get_num_threads())
        assert threads == torch.get_num_threads()
