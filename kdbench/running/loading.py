"""From a checkpoint back to a network: the checkpoint alone is enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from kdbench import models
from kdbench.bounds import LONGEST_NAME, MOST_CLASSES, MOST_PARTS, Number
from kdbench.errors import KdbenchError
from kdbench.files import require_path
from kdbench.inference.prediction import freeze
from kdbench.methods.context import Context
from kdbench.methods.method import Method
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.running.lineage import Lineage
from kdbench.specs import Training, first_problem
from kdbench.torch_state import exclusive
from kdbench.training.checkpoint import load_checkpoint
from kdbench.training.context_factory import Build, make_context
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


@exclusive()
def load_predictor(
    path: str | Path,
    *,
    params: Mapping[str, Any] | None = None,
    device: torch.device | None = None,
    plugins: Plugins | None = None,
) -> nn.Module:
    """The network that a checkpoint of ours says is to be evaluated: eval mode, frozen, pixels in [0, 1] to logits.

    ``params`` are parameters of its method that only matter when it is measured, such as ``{"evaluate": "peer"}``, in
    place of those that it was kept with. Raises ``KdbenchError`` for parameters of the training.
    """
    path, found = require_path("load_predictor", path), plugins or load_plugins()
    tensors, metadata = load_checkpoint(path)
    lineage = lineage_of(path, metadata)
    spec = lineage.training
    if params:
        measured = found.methods.get(spec.method).measured_with({**spec.measured, **params})
        spec = spec.model_copy(update={"measured": measured})
    # The usual case, which does not even need the method's package.
    if metadata["predictor"] == "student" and not spec.measured:
        student = build_network(found, spec, metadata["num_classes"])
        load_weights(student, _part(tensors, "student"), path)
        return freeze(student, device)

    def untrained(training: Training, networks: Mapping[str, nn.Module]) -> nn.Module:
        method, ctx = _set_up(found, training, networks, metadata)
        return method.predictor(ctx)

    with torch.random.fork_rng(devices=[]):
        method, ctx = _set_up(found, spec, lineage.networks(untrained), metadata)
        owned = method.networks()
        check_owned(ctx.student, owned)
        for owner, network in {"student": ctx.student, **owned}.items():
            load_weights(network, _part(tensors, owner), path)
        return freeze(method.predictor(ctx), device)


def _set_up(
    plugins: Plugins, spec: Training, networks: Mapping[str, nn.Module], facts: Mapping[str, Any]
) -> tuple[Method, Context]:
    """A method as it stood after ``setup``, on the CPU, with untrained networks of the right architectures.

    ``facts`` of the training set are those of the checkpoint's metadata.
    """
    classes = facts["num_classes"]
    ctx = make_context(
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
    method = make_method(plugins, spec)
    torch.default_generator.manual_seed(derive_seed(spec.seed, "setup"))
    method.setup(ctx)
    ctx._make = None
    return method, ctx


def _part(tensors: Mapping[str, torch.Tensor], owner: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{owner}."): tensor for key, tensor in tensors.items() if key.startswith(f"{owner}.")}


class _Needs(BaseModel):
    """A network that a training needed, in turn with its own needs."""

    training: dict[str, Any]
    needs: dict[str, _Needs]


class _Facts(BaseModel):
    """What the metadata of a checkpoint of ours must say, and how large that may be; they may say more."""

    model_config = ConfigDict(allow_inf_nan=False)

    version: Annotated[int, Field(ge=1, le=CHECKPOINT_VERSION)] = 1
    predictor: Annotated[str, Field(max_length=LONGEST_NAME)]
    num_classes: Annotated[int, Field(ge=1, le=MOST_CLASSES)]
    train_size: Number
    mean: Annotated[list[float], Field(max_length=MOST_PARTS)]
    noise_realised: Annotated[float, Field(ge=0, le=1)] = 0.0
    training: dict[str, Any]
    needs: dict[str, _Needs] = {}


def lineage_of(path: Path, metadata: Mapping[str, Any]) -> Lineage:
    """What a checkpoint of ours says of its training, and of those it needed."""
    if not metadata:
        raise KdbenchError(f"checkpoint {path} is a plain state dict", "name its architecture with --model")
    try:
        facts = _Facts.model_validate(metadata)
        return Lineage.read(facts.training, metadata.get("needs", {}))
    except ValidationError as error:
        raise KdbenchError(
            f"checkpoint {path} was made by another version of kdbench ({first_problem(error)})", "train it again"
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
