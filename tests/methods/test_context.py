"""What a method's context computes by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.plugins.helpers import digits_graph, make_context


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_labels_held_out_are_as_noisy_as_the_others(seed: int, tmp_path: Path) -> None:
    """All of them were wrong at seed 0: the label noise of the suites draws by that number too."""
    graph = digits_graph(tmp_path)
    observed, clean = (graph.train_set(condition)[0].labels for condition in ("sym-40", "clean"))
    ctx = make_context(nn.Identity())
    ctx.train_size = len(observed)
    held = ctx.held_out(0.1, seed)
    assert held.sum() == 129
    assert (observed != clean)[held].double().mean().item() == pytest.approx(0.4, abs=0.1)  # 2.3 standard errors


def test_what_is_held_out_is_the_same_for_a_seed_and_at_least_one() -> None:
    ctx = make_context(nn.Identity())
    ctx.train_size = 50
    assert torch.equal(ctx.held_out(0.2, 3), ctx.held_out(0.2, 3))
    assert not torch.equal(ctx.held_out(0.2, 3), ctx.held_out(0.2, 4))
    assert (ctx.held_out(0.2).sum(), ctx.held_out(0.001).sum()) == (10, 1)
