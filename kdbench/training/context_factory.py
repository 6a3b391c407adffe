"""Makes what the harness provides to a method: its context, with the recipe's augmentation and a maker of networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from kdbench import augment
from kdbench.errors import KdbenchError
from kdbench.methods.context import Context, NetworkMaker
from kdbench.specs import LabelNoise, Recipe, Training
from kdbench.training.seeds import derive_seed

Build = Callable[[str | None, float, int], nn.Module]
"""Makes an untrained network from the name of its architecture (None: the student's), dropout rate and seed."""

NetworkCheck = Callable[[str, str | None, nn.Module], None]
"""Sees a network that a method has made: its name, its architecture (None: the student's), and itself."""


def augmentation(recipe: Recipe, *, flip: bool, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """The recipe's augmentation of a batch, one draw per image."""
    if recipe.augmentation == "none":
        return lambda images: images
    if recipe.augmentation.startswith("resized-crop"):
        jitter = recipe.augmentation.endswith("jitter")
        return lambda images: augment.photograph_view(images, generator, jitter=jitter, flip=flip)
    flips = flip and recipe.augmentation == "crop-flip"
    return lambda images: augment.crop_flip(images, generator, padding=4, mode=recipe.padding_mode, flip=flips)


def make_context(
    spec: Training,
    student: nn.Module,
    networks: Mapping[str, nn.Module],
    num_classes: int,
    *,
    train_size: int,
    mean: tuple[float, float, float],
    device: torch.device,
    noise_realised: float = 0.0,
    build: Build | None = None,
    check: NetworkCheck = lambda name, model, network: None,
) -> Context:
    """The context that the harness provides to a method in ``setup``."""
    recipe = spec.recipe
    generator = torch.Generator(device).manual_seed(derive_seed(spec.seed, "setup"))
    return Context(
        student=student,
        networks=networks,
        num_classes=num_classes,
        train_size=train_size,
        device=device,
        generator=generator,
        augment=augmentation(recipe, flip=spec.flip, generator=generator),
        mean=mean,
        flip=spec.flip,
        noise_kind=spec.noise.kind if spec.noise else None,
        noise_rate=_nominal(spec.noise, noise_realised),
        noise_realised=noise_realised,
        epochs=recipe.epochs,
        steps=recipe.steps_per_epoch(train_size) * recipe.epochs,
        _make=_maker(spec, device, build, check),
    )


def _nominal(noise: LabelNoise | None, realised: float) -> float:
    """What a method is told of the rate: the nominal one, or of labels that exist already the share that is wrong."""
    if noise is None:
        return 0.0
    return realised if noise.rate is None else noise.rate


def _maker(spec: Training, device: torch.device, build: Build | None, check: NetworkCheck) -> NetworkMaker:
    """Peers on the device, each with a seed of its own."""
    made: set[str] = set()

    def make(name: str, *, model: str | None, dropout: float) -> nn.Module:
        if build is None:
            raise KdbenchError(f"ctx.new_network('{name}') has nothing to build with", "give fit() a build function")
        if name in made:
            raise KdbenchError(f"ctx.new_network('{name}') was called twice", "give each network a name of its own")
        made.add(name)
        network = build(model, dropout, derive_seed(spec.seed, "network", name)).to(device)
        check(name, model, network)
        return network

    return make
