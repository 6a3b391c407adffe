"""An exported program (``torch.export.save``): a graph with its weights, which needs nobody's code."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.inference.module_kinds import OneMode
from kdbench.sources.spec import ModelRequest, OpenedModel

TRUST = "torch's reader of exported programs can run code that is in the file: open only those that you trust"
HOW = (
    "export it so: torch.export.export(model.eval(), (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},)) with two "
    "images or more"
)
TRAINING_OPS = ("batch_norm", "dropout")
"""Operators whose behaviour in training was frozen into the graph if it was exported in that mode."""


def open_exported(path: Path, source: str, request: ModelRequest) -> OpenedModel:
    """The network of a ``.pt2`` file. Raises ``KdbenchError`` for a graph of one batch size or of a training."""
    program = _read(path)
    _check(program, path)
    return OpenedModel(OneMode(program.module()), source, file_sha256(path), notes=(TRUST,))


def _read(path: Path) -> Any:
    log = logging.getLogger("torch.export")
    before = log.level
    try:
        log.setLevel(logging.CRITICAL)  # it logs tracebacks of what is said below in one line
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path)
    except MemoryError:
        raise
    except Exception as error:  # whatever a file that is no exported program makes the reader stumble over
        reason = f"{type(error).__name__} {error}".splitlines()[0]
        raise KdbenchError(
            f"{path} can't be read as an exported program: {reason}", "write it with torch.export.save"
        ) from None
    finally:
        log.setLevel(before)


def _check(program: Any, path: Path) -> None:
    images = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    if len(images) != 1:
        raise KdbenchError(f"{path} takes {len(images)} inputs, expected the images alone", HOW)
    size = images[0].meta["val"].shape[0]
    if isinstance(size, int):
        raise KdbenchError(f"{path} was exported for batches of {size} alone", HOW)
    for node in program.graph.nodes:
        name = str(node.target)
        if any(op in name for op in TRAINING_OPS) and True in node.args:
            raise KdbenchError(f"{path} was exported in training mode: {name} is frozen so", HOW)
