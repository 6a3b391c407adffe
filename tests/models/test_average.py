from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kdbench.errors import KdbenchError
from kdbench.models import create, update_average


def test_an_average_moves_by_its_decay_and_copies_statistics() -> None:
    current = create("wrn-10-1", num_classes=10, seed=1)
    average = copy.deepcopy(create("wrn-10-1", num_classes=10, seed=2)).requires_grad_(False)
    before = [parameter.clone() for parameter in average.parameters()]
    current(torch.rand(4, 3, 32, 32))
    update_average(average, current, 0.99)
    for old, new, target in zip(before, average.parameters(), current.parameters(), strict=True):
        torch.testing.assert_close(new, 0.99 * old + 0.01 * target.detach(), rtol=1e-6, atol=1e-7)
        assert not new.requires_grad
    for copied, buffer in zip(average.buffers(), current.buffers(), strict=True):
        assert torch.equal(copied, buffer)
    counts = [buffer for name, buffer in average.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts
    assert all(count == 1 for count in counts)
    assert all(parameter.requires_grad for parameter in current.parameters())


def test_statistics_are_averaged_or_kept_where_that_is_asked_for() -> None:
    current, average = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    current(torch.tensor([[0.0, 4.0], [2.0, 8.0]]))
    update_average(average, current, 0.75, buffers="keep")
    assert average.running_mean.tolist() == [0, 0]  # type: ignore[union-attr]  # it tracks
    update_average(average, current, 0.75, buffers="average")
    # A quarter of a tenth, batch norm's own momentum, of the means 1 and 6.
    torch.testing.assert_close(average.running_mean, torch.tensor([0.025, 0.15]))
    assert average.num_batches_tracked == 1


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_the_ends_of_the_range_copy_and_keep(decay: float) -> None:
    average, current = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = (current if decay == 0.0 else average).weight.detach().clone()
    update_average(average, current, decay)
    assert torch.equal(average.weight, expected)


def test_mistakes_are_told() -> None:
    with pytest.raises(KdbenchError, match=r"decay=1.5, expected a number in \[0, 1\]"):
        update_average(nn.Linear(1, 1), nn.Linear(1, 1), 1.5)
    with pytest.raises(KdbenchError, match="two different architectures"):
        update_average(nn.Linear(1, 1), nn.Linear(1, 2), 0.5)
    with pytest.raises(KdbenchError, match="two different architectures"):
        update_average(nn.Linear(1, 1), nn.BatchNorm1d(1), 0.5)
