"""The pretend accelerator is as strict as a GPU, and computes what the CPU computes."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdbench.testing import counted_reads, pretend_accelerator

Make = Callable[[torch.device], Any]


@pytest.fixture
def device() -> Iterator[torch.device]:
    with pretend_accelerator() as found:
        yield found


MAKERS: dict[str, Make] = {
    "arange": lambda d: torch.arange(2, 9, 3, device=d),
    "bernoulli": lambda d: torch.bernoulli(torch.full((4,), 0.5, device=d)),
    "dropout": lambda d: F.dropout(torch.ones(4, device=d)),
    "eye": lambda d: torch.eye(3, device=d),
    "full": lambda d: torch.full((3,), 2.0, device=d),
    "linspace": lambda d: torch.linspace(0, 1, 5, device=d),
    "multinomial": lambda d: torch.multinomial(torch.ones(4, device=d), 2),
    "new_tensor": lambda d: torch.ones(3, device=d).new_tensor([1, 2]),
    "one_hot": lambda d: F.one_hot(torch.tensor([1, 2], device=d), 4),
    "rand": lambda d: torch.rand(3, device=d),
    "randint": lambda d: torch.randint(9, (3,), device=d),
    "randperm": lambda d: torch.randperm(5, device=d),
    "tensor": lambda d: torch.tensor([1, 2], device=d),
    "to": lambda d: torch.ones(2, 3).to(d),
    "tril_indices": lambda d: torch.tril_indices(3, 3, device=d),
    "uniform_": lambda d: torch.empty(3, device=d).uniform_(-1, 1),
    "zeros_like": lambda d: torch.zeros_like(torch.ones(2, device=d)),
    "view in place": lambda d: torch.zeros(3, 1, device=d).squeeze_(1).add_(1),
    "write into a view": lambda d: _written(torch.zeros(3, 3, device=d)),
    "index with indices of the CPU": lambda d: torch.arange(5, device=d)[torch.tensor([1, 2])],
    "a number of the CPU": lambda d: torch.ones(2, device=d) * torch.tensor(3.0),
}


def _written(tensor: Tensor) -> Tensor:
    tensor[1][:2] = 5
    return tensor


@pytest.mark.parametrize("name", MAKERS)
def test_a_tensor_is_the_cpus_on_another_device(device: torch.device, name: str) -> None:
    torch.manual_seed(3)
    expected = MAKERS[name](torch.device("cpu"))
    torch.manual_seed(3)
    found = MAKERS[name](device)
    assert found.device == device
    assert (found.shape, found.dtype, found.stride()) == (expected.shape, expected.dtype, expected.stride())
    assert torch.equal(found.cpu(), expected)


REFUSED: dict[str, tuple[Make, str]] = {
    "an addition": (lambda d: torch.ones(3, device=d) + torch.ones(3), "two devices, accel:0 and cpu"),
    "a product": (lambda d: torch.ones(3, 3) @ torch.ones(3, 3, device=d), "two devices"),
    "a concatenation": (lambda d: torch.cat([torch.ones(3), torch.ones(3, device=d)]), "two devices"),
    "a choice": (lambda d: torch.where(torch.ones(3) > 0, torch.ones(3, device=d), 0.0), "two devices"),
    "a write": (lambda d: torch.ones(3).add_(torch.ones(3, device=d)), "two devices"),
    "a gather": (lambda d: torch.ones(3, device=d).gather(0, torch.tensor([1])), "two devices"),
    "a loss": (lambda d: F.cross_entropy(torch.ones(1, 3, device=d), torch.tensor([1])), "two devices"),
    "indices of the device": (lambda d: torch.ones(3)[torch.tensor([1], device=d)], "two devices"),
    "numpy": (lambda d: torch.ones(3, device=d).numpy(), "can't convert accel:0 device type tensor to numpy"),
    "asarray": (lambda d: np.asarray(torch.ones(3, device=d)), "can't convert accel:0 device type tensor to numpy"),
    "a generator of the CPU": (
        lambda d: torch.rand(3, device=d, generator=torch.Generator()),
        "Expected a 'accel:0' device type for generator but found 'cpu'",
    ),
    "a generator of the device": (
        lambda d: torch.rand(3, generator=torch.Generator(d)),
        "Expected a 'cpu' device type for generator but found 'accel:0'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_devices_do_not_mix(device: torch.device, name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises((RuntimeError, TypeError), match=message):
        make(device)


def test_generators_and_global_numbers_are_its_own(device: torch.device) -> None:
    generator = torch.Generator(device)
    assert isinstance(generator, torch.Generator) and isinstance(torch.default_generator, torch.Generator)
    assert generator.device == device
    draws = [torch.rand(3, device=device, generator=generator.manual_seed(4)).tolist() for _ in range(2)]
    assert draws[0] == draws[1]
    torch.manual_seed(1)
    torch.rand(5, device=device)  # moves the device's numbers, not the CPU's
    expected = torch.rand(3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.rand(3), expected)


def test_places_in_memory_are_told_apart(device: torch.device) -> None:
    one, other = torch.ones(3, device=device), torch.ones(3, device=device)
    assert one.data_ptr() == one.view(3, 1).data_ptr() != other.data_ptr()
    assert one.untyped_storage().nbytes() == 12
    network = nn.Linear(2, 2).to(device)
    copied = copy.deepcopy(network)
    assert isinstance(copied.weight, nn.Parameter) and copied.weight.requires_grad
    with torch.no_grad():
        copied.weight.zero_()
    assert network.weight.abs().sum() > 0


def steps(device: torch.device, precision: str = "float32", optimizer: str = "sgd") -> list[Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    images, labels = torch.rand(6, 3, 8, 8), torch.arange(6) % 5
    network.to(device)
    images, labels = images.to(device).contiguous(memory_format=torch.channels_last), labels.to(device)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    chosen = kind(network.parameters(), lr=0.05, weight_decay=1e-3)
    for _ in range(3):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(images)
            loss = F.cross_entropy(logits, labels)
        assert logits.dtype == getattr(torch, precision)
        chosen.zero_grad()
        loss.backward()
        chosen.step()
    return [tensor.detach().cpu() for tensor in network.state_dict().values()]


@pytest.mark.parametrize(
    ("precision", "optimizer", "tolerance"),
    [("float32", "sgd", 1e-5), ("float32", "adam", 1e-4), ("bfloat16", "sgd", 5e-2)],
)
def test_a_network_trains_as_on_the_cpu(device: torch.device, precision: str, optimizer: str, tolerance: float) -> None:
    pairs = zip(steps(device, precision, optimizer), steps(torch.device("cpu"), precision, optimizer), strict=True)
    for found, expected in pairs:
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=tolerance)


def test_autocast_rounds_products_and_keeps_losses_exact(device: torch.device) -> None:
    a = torch.rand(4, 4, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        assert (a @ a).softmax(1).dtype == torch.float32
        assert (torch.rand(4, 4) @ torch.rand(4, 4)).dtype == torch.float32  # not the device's


def test_what_is_saved_is_loaded_on_either_device(device: torch.device) -> None:
    file = io.BytesIO()
    torch.save({"a": torch.arange(6.0, device=device).view(2, 3).T}, file)
    for where, expected in (("cpu", torch.device("cpu")), (None, device)):
        file.seek(0)
        loaded = torch.load(file, map_location=where, weights_only=True)["a"]
        assert loaded.device == expected
        assert loaded.cpu().tolist() == [[0, 3], [1, 4], [2, 5]]


READ: dict[str, tuple[Callable[[Tensor], Any], int]] = {
    "item": (lambda a: a.sum().item(), 1),
    "float": (lambda a: float(a[0]), 1),
    "if": (lambda a: 1 if a.any() else 0, 1),
    "tolist": (lambda a: a.tolist(), 1),
    "cpu": (lambda a: a.cpu(), 1),
    "nonzero": (lambda a: a.nonzero(), 1),
    "rows of a mask": (lambda a: a[a > 2], 1),
    "rows written by a mask": (lambda a: a.__setitem__(a > 2, a[:2].clone()), 1),
    "equal": (lambda a: torch.equal(a, a), 1),
    "unique": (lambda a: torch.unique(a), 1),
    "bincount": (lambda a: a.bincount(), 1),
    "a fill by a mask": (lambda a: a.__setitem__(a > 2, 1), 0),
    "masked_fill": (lambda a: a.masked_fill(a > 2, 1), 0),
    "indices": (lambda a: a[torch.tensor([0, 1], device=a.device)], 0),
    "sort": (lambda a: a.sort(), 0),
    "a fixed number of repeats": (lambda a: a.repeat_interleave(2), 0),
    "upload": (lambda a: torch.tensor([1], device=a.device), 0),
}


@pytest.mark.parametrize("name", READ)
def test_what_makes_the_host_wait_is_counted(device: torch.device, name: str) -> None:
    function, count = READ[name]
    values = torch.arange(5, device=device)
    with counted_reads() as reads:
        function(values)
    assert reads.total == count, reads.places
    assert all(where.startswith("test_pretend.py:") for _, where in reads.places)


def test_it_is_torchs_accelerator_while_it_is_open() -> None:
    with pretend_accelerator() as device:
        assert torch.accelerator.current_accelerator(check_available=True) == torch.device(device.type)
        assert torch.accelerator.device_count() == 1
    assert torch.accelerator.current_accelerator(check_available=True) is None or not torch.accelerator.is_available()
    assert torch.Generator.__module__ == "torch._C"
    assert torch.rand(2, generator=torch.Generator().manual_seed(0)).shape == (2,)


def test_too_large_a_tensor_is_out_of_memory() -> None:
    with pretend_accelerator(largest_bytes=100) as device:
        torch.zeros(25, device=device)
        with pytest.raises(torch.OutOfMemoryError, match="accel:0 out of memory"):
            torch.zeros(26, device=device)
    with pretend_accelerator() as device:
        torch.zeros(26, device=device)


def test_it_comes_before_the_first_backward_pass_or_says_so() -> None:
    code = """
import torch
from kdbench.testing import pretend_accelerator
torch.ones(1, requires_grad=True).sum().backward()
try:
    with pretend_accelerator():
        pass
except RuntimeError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True).stdout
    assert said.startswith("torch's autograd has begun in this process without the pretend accelerator")
