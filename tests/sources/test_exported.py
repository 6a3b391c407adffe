from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import kdbench
from kdbench import models
from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.sources import open_model


def network() -> nn.Module:
    made = models.create("wrn-10-1", num_classes=10, seed=2)
    made.train()
    with torch.no_grad():
        made(torch.rand(8, 3, 32, 32))
    return made.eval()


def export(model: nn.Module, path: Path, *, dynamic: bool = True) -> None:
    images = torch.rand(4, 3, 32, 32)
    shapes = ({0: torch.export.Dim.AUTO},) if dynamic else None
    torch.export.save(torch.export.export(model, (images,), dynamic_shapes=shapes), path)


def test_an_exported_program_is_measured_as_its_network(tmp_path: Path, tiny_suite: Path) -> None:
    original, path = network(), tmp_path / "a.pt2"
    export(original, path)
    opened = open_model(str(path), mean="0.5", std="0.25")
    assert opened.sha256 == file_sha256(path)
    assert any("can run code" in note for note in opened.notes)
    pixels = torch.rand(3, 3, 32, 32, requires_grad=True)
    logits = opened.network(pixels)
    assert torch.allclose(logits, original((pixels - 0.5) / 0.25), atol=1e-5)
    logits[:, 0].sum().backward()
    assert pixels.grad is not None
    suite = str(tiny_suite)
    found = kdbench.evaluate(open_model(str(path)).network, suite, tasks=["clean"], device="cpu")
    expected = kdbench.evaluate(original, suite, tasks=["clean"], device="cpu")
    assert [score.value for score in found.scores] == pytest.approx([score.value for score in expected.scores])


def test_a_program_that_cannot_be_measured_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    export(network(), path, dynamic=False)
    with pytest.raises(KdbenchError, match="was exported for batches of 4 alone .export it so: torch.export.export"):
        open_model(str(path))
    export(network().train(), path)
    with pytest.raises(KdbenchError, match="was exported in training mode: .*batch_norm"):
        open_model(str(path))
    path.write_bytes(b"no archive")
    with pytest.raises(KdbenchError, match="can't be read as an exported program") as caught:
        open_model(str(path))
    assert "\n" not in str(caught.value)
