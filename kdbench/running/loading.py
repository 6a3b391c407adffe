"""From a checkpoint back to a network: the checkpoint alone is enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from kdbench import models
from kdbench.errors import KdbenchError
from kdbench.methods.method import Method
from kdbench.plugin.loader import Plugins
from kdbench.specs import Training, first_problem
from kdbench.training.checkpoint import load_checkpoint
from kdbench.training.context_factory import Build, context
from kdbench.training.loop import CHECKPOINT_VERSION
from kdbench.training.ownership import check_owned
from kdbench.training.seeds import derive_seed


def build_network(plugins: Plugins, spec: Training, num_classes: int, *, pretrained: bool = False) -> nn.Module:
    """The untrained network of a training, initialised from its seed, or from weights trained elsewhere."""
    build = network_builder(plugins, spec, num_classes, pretrained=pretrained)
    return build(None, spec.dropout, derive_seed(spec.seed, "init"))


def network_builder(plugins: Plugins, spec: Training, num_classes: int, *, pretrained: bool = False) -> Build:
    """Makes untrained networks for one training: its architecture or another, its normalisation inside.

    ``pretrained`` is for a training that begins; to fill a network with its own weights none are fetched.
    """
    normalisation = (spec.mean, spec.std) if spec.mean and spec.std else None

    def build(model: str | None, dropout: float, seed: int) -> nn.Module:
        architecture = plugins.models.get(model or spec.model)
        return models.build(
            architecture,
            num_classes=num_classes,
            normalisation=normalisation,
            dropout=dropout,
            pretrained=pretrained,
            seed=seed,
        )

    return build


def make_method(plugins: Plugins, spec: Training) -> Method:
    """The method of a training, with all its parameters."""
    return plugins.methods.get(spec.method).make({**spec.params, **spec.measured})


def load_predictor(
    path: Path,
    *,
    params: Mapping[str, Any] | None = None,
    device: torch.device | None = None,
    plugins: Plugins | None = None,
) -> nn.Module:
    """The network that a checkpoint of ours says is to be evaluated: eval mode, frozen, pixels in [0, 1] to logits.

    ``params`` are parameters of its method that only matter when it is measured, such as ``{"evaluate": "peer"}``, in
    place of those that it was kept with. Raises ``KdbenchError`` for parameters of the training.
    """
    from kdbench.plugin.loader import load_plugins

    plugins = plugins or load_plugins()
    tensors, metadata = load_checkpoint(path)
    spec = training_of(path, metadata)
    if params:
        measured = plugins.methods.get(spec.method).measured_with({**spec.measured, **params})
        spec = spec.model_copy(update={"measured": measured})
    if (
        metadata["predictor"] == "student" and not spec.measured
    ):  # the usual case, which does not even need the method's package
        student = build_network(plugins, spec, metadata["num_classes"])
        load_weights(student, _part(tensors, "student"), path)
        return ready(student, device)
    with torch.random.fork_rng(devices=[]):
        predictor = _Rebuilt(plugins, spec, metadata.get("needs", {}), metadata).predictor((path, tensors))
    return ready(predictor, device)


class _Rebuilt:
    """A method as it stood after ``setup``, on the CPU, with untrained networks of the right architectures."""

    def __init__(self, plugins: Plugins, spec: Training, needs: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        networks = {}
        for role, needed in needs.items():
            training = Training.model_validate(needed["training"])
            networks[role] = ready(_Rebuilt(plugins, training, needed["needs"], facts).predictor())
        classes = facts["num_classes"]
        self.ctx = context(
            spec,
            build_network(plugins, spec, classes),
            networks,
            classes,
            train_size=facts["train_size"],
            mean=tuple(facts["mean"]),
            device=torch.device("cpu"),
            noise_realised=facts.get("noise_realised", 0.0),
            build=network_builder(plugins, spec, classes),
        )
        self.method = make_method(plugins, spec)
        torch.default_generator.manual_seed(derive_seed(spec.seed, "setup"))
        self.method.setup(self.ctx)
        self.ctx._make = None

    def predictor(self, weights: tuple[Path, Mapping[str, torch.Tensor]] | None = None) -> nn.Module:
        """What the method says is to be evaluated, with the weights of a checkpoint where they are given."""
        networks = {"student": self.ctx.student, **self.method.networks()}
        if weights is not None:
            path, tensors = weights
            check_owned(self.ctx.student, self.method.networks())
            for owner, network in networks.items():
                load_weights(network, _part(tensors, owner), path)
        return self.method.predictor(self.ctx)


def _part(tensors: Mapping[str, torch.Tensor], owner: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{owner}."): tensor for key, tensor in tensors.items() if key.startswith(f"{owner}.")}


def training_of(path: Path, metadata: Mapping[str, Any]) -> Training:
    """What a checkpoint of ours says of its training."""
    if not metadata:
        raise KdbenchError(f"checkpoint {path} is a plain state dict", "name its architecture with --model")
    try:
        if metadata.get("version", 1) > CHECKPOINT_VERSION:
            raise KeyError(f"version up to {CHECKPOINT_VERSION} but {metadata['version']}")
        missing = {"predictor", "num_classes", "train_size", "mean"} - metadata.keys()
        if missing:
            raise KeyError(*sorted(missing)[:1])
        return Training.model_validate(metadata["training"])
    except (ValidationError, KeyError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else f"no {error}"
        raise KdbenchError(
            f"checkpoint {path} was made by another version of kdbench ({problem})", "train it again"
        ) from None


def load_weights(network: nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load a state dict strictly; another architecture is one line that says what does not fit."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if expected == found:
        network.load_state_dict(dict(state))
        return
    differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    first = differing[0]
    raise KdbenchError(
        f"checkpoint {path} is of another architecture: {len(differing)} of {len(expected)} tensors differ, such as "
        f"{first} (found {found.get(first, 'none')}, expected {expected.get(first, 'none')})",
        "name the right one with --model",
    )


def ready(network: nn.Module, device: torch.device | None = None) -> nn.Module:
    """A network for evaluation: eval mode, frozen, in the memory layout that convolutions like best."""
    network = network.eval().requires_grad_(False).to(device or torch.device("cpu"))
    network.to(memory_format=torch.channels_last)
    return network
