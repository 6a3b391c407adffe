"""Every method trains on a device as on the CPU, goes on where the other one stopped, and waits for no value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdbench.plugin.loader import load_plugins
from kdbench.testing import CPU, _Trial
from tests.accelerator.share import share
from tests.accelerator.trainings import counting
from tests.plugins.test_conformance import CASES, with_the_rest

SOME: list[tuple[str, dict[str, Any]]] = [
    ("ce", {"view": "strong"}),
    ("kd", {}),
    ("fickle-teacher", {}),
    ("target-variability", {}),
    ("smkd-s", {}),
    ("nrd", {}),
    ("co-teaching", {}),
    ("elr-plus", {}),
    ("dividemix", {}),
    ("joint", {}),
]
"""Of each family one, and those that keep tensors of their own."""
READS = {"nrd": 2, "gjs": 2}
"""Values that a step may read back, beside one for a strong view: the sizes of an augmentation's groups."""


@pytest.mark.filterwarnings("ignore:the exchange of the two peers has died")  # on random pixels nobody is sure
@pytest.mark.parametrize(("name", "params"), share(with_the_rest(CASES), SOME), ids=str)
def test_a_method_trains_as_on_the_cpu(
    accelerator: torch.device, monkeypatch: pytest.MonkeyPatch, name: str, params: dict[str, Any]
) -> None:
    method = load_plugins().methods.get(name)
    trial = _Trial(method, method.validate(params), 10)
    expected = trial.train(seed=0)
    steps = counting(monkeypatch)
    for devices in ((accelerator, CPU), (CPU, accelerator)):
        found = trial.train(seed=0, devices=devices)
        assert found.keys() == expected.keys()
        for tensor, value in expected.items():
            np.testing.assert_allclose(found[tensor].numpy(), value.numpy(), rtol=1e-4, atol=1e-5, err_msg=tensor)
    allowed = READS.get(name, int(params.get("view") == "strong"))
    for reads in steps:
        reads.check(allowed, f"a step of {name}")
