"""A small network and files of it, as training scripts write them."""

from __future__ import annotations

import enum
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.bn(self.conv(x)).mean((2, 3)))
        return logits


with torch.random.fork_rng():
    torch.manual_seed(0)
    NETWORK = Network()
STATE: State = {name: tensor.clone() for name, tensor in NETWORK.state_dict().items()}
OTHER: State = {name: tensor + 1 for name, tensor in STATE.items()}


class Meter:
    """As many training scripts keep beside the weights."""

    def __init__(self) -> None:
        self.average = 0.5


class Config(dict[str, Any]):
    """A dict with attributes, as EasyDict, yacs and mmcv have."""


class Level(enum.Enum):
    LOW = 1


Written = Any
"""What torch.save gets, or the bytes of the file."""


def legacy(content: Any) -> bytes:
    """A file as torch wrote it before version 1.6."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def write(path: Path, content: Written) -> Path:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    return path
