"""Trained models from wherever their users have them: files, zoos, hubs, code."""

from __future__ import annotations

from kdbench.sources.file import open_file
from kdbench.sources.hub import open_hub
from kdbench.sources.opening import open_model
from kdbench.sources.python import open_python
from kdbench.sources.robustbench_zoo import open_robustbench
from kdbench.sources.spec import ModelRequest, ModelSource, OpenedModel
from kdbench.sources.timm_models import open_timm
from kdbench.sources.torchvision_models import open_torchvision

__all__ = ["ModelRequest", "ModelSource", "OpenedModel", "builtin_sources", "open_model"]


def builtin_sources() -> list[ModelSource]:
    """The sources that come with kdbench."""
    return [
        ModelSource(
            "file",
            open_file,
            "a checkpoint of kdbench, weights of a named architecture (--model), or an exported program (.pt2)",
            "PATH",
            ("model", "weights", "params"),
        ),
        ModelSource("python", open_python, "what a function without arguments returns", "package.module:build"),
        ModelSource("robustbench", open_robustbench, "RobustBench's zoo, for any data set and threat model",
                    "robustbench:NAME"),
        ModelSource("timm", open_timm, "timm's classifiers with their published weights", "timm:NAME"),
        ModelSource("torchvision", open_torchvision, "torchvision's classifiers with their published weights",
                    "torchvision:NAME"),
        ModelSource("hf", open_hub, "a repository of the Hugging Face hub, with safetensors",
                    "hf:USER/REPO[@REVISION]", ("model", "weights", "params")),
    ]  # fmt: skip
