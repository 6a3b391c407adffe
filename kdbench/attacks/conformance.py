"""The conformance kit of attacks: what every one must satisfy, for the tests of plugin authors."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.attacks.run import run
from kdbench.attacks.spec import AttackContext, AttackSpec, stages_of
from kdbench.devices import CPU
from kdbench.errors import KdbenchError

IMAGES, CLASSES, EPS = 7, 10, 8 / 255


class _Victim(nn.Module):
    """Convolution, batch norm, dropout, linear: enough for everything that an attack could do to a model."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.Tanh(), nn.Dropout(0.5))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(pixels).mean((2, 3)))
        return 20 * logits


def check_attack(attack: AttackSpec, *, options: Mapping[str, Any] | None = None, device: torch.device = CPU) -> None:
    """Check what an author can get wrong; raises ``AssertionError`` that names the rule and what was found.

    On a tiny network and random pixels: there is one finite float32 candidate per image, also for a single
    image, and the same one for the same seed, whatever the global random numbers; with a radius of 0 it is the image.
    Images, labels, the model (weights, statistics, modes, gradient flags, hooks) and the global random numbers are left
    as they were. What ``kdbench.attacks.run`` makes of the candidates lies in the ball and in [0, 1].

    Args:
        attack: what ``@kdbench.attack`` returns.
        options: parameters beside its defaults.
        device: where network and images are.
    """
    assert isinstance(attack, AttackSpec), f"expected what @kdbench.attack returns, found {type(attack).__name__}"
    trial = _Trial(attack, options or {}, device)
    pairs = zip(trial.candidates(IMAGES), trial.candidates(IMAGES), strict=True)
    same = all(torch.equal(one, again) for one, again in pairs)
    trial.require(same, "the same seed gave other candidates: draw from ctx.generator or ctx.uniform")
    trial.candidates(1)
    moved = max(float((part - trial.images).abs().max()) for part in trial.candidates(IMAGES, eps=0.0))
    trial.require(
        moved <= 1e-6, f"with eps = 0 it moved a pixel by {moved:.3g}: return images, and scale what you add by ctx.eps"
    )
    trial.check_run()


class _Trial:
    """One attack on a few images that the model gets right."""

    def __init__(self, attack: AttackSpec, options: Mapping[str, Any], device: torch.device) -> None:
        self.attack, self.options, self.device = attack, dict(options), device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.model = _Victim().eval().requires_grad_(False).to(device)
            self.images = torch.rand(IMAGES, 3, 32, 32).to(device)
        self.labels = self.model(self.images).argmax(1)

    def require(self, holds: bool, message: str) -> None:
        assert holds, f"'{self.attack.name}': {message}"

    def candidates(self, count: int, *, eps: float = EPS) -> list[Tensor]:
        """What it returns for the first images at each of its stages."""
        with self._naming_the_attack():
            made = self.attack.make(self.attack.validate(self.options))
            drawn, index = torch.Generator(self.device), torch.arange(count, device=self.device)
            ctx = AttackContext(eps, drawn, CLASSES, 0, 0, "", 1, index)
            return [
                self._candidate(made, replace(ctx, stage=stage, generator=torch.Generator(self.device).manual_seed(3)))
                for stage in stages_of(made, 1)
            ]

    def _candidate(self, made: Any, ctx: AttackContext) -> Tensor:
        """One call, and everything around it as it was."""
        count = len(ctx.index)
        images, labels = self.images[:count].clone(), self.labels[:count].clone()
        before, numbers = _state(self.model), _global_numbers(self.device)
        found = made(self.model, images, labels, ctx)
        changed = [name for name, value in _state(self.model).items() if not _same(value, before.get(name))]
        self.require(not changed, f"it changed the model: {', '.join(changed[:3])}")
        self.require(
            _same(_global_numbers(self.device), numbers), "it moved a global generator: draw from ctx.generator"
        )
        self.require(torch.equal(images, self.images[:count]), "it wrote into the images that it was given")
        self.require(torch.equal(labels, self.labels[:count]), "it wrote into the labels that it was given")
        self.require(isinstance(found, Tensor), f"it returned {type(found).__name__}, expected a tensor")
        self.require(found.shape == images.shape, f"it returned shape {tuple(found.shape)} for {tuple(images.shape)}")
        self.require(found.dtype == torch.float32, f"it returned {found.dtype}, expected torch.float32")
        self.require(bool(found.isfinite().all()), "it returned pixels that are not finite")
        candidate: Tensor = found.detach()
        return candidate

    def check_run(self) -> None:
        """What the core makes of it."""
        with self._naming_the_attack():
            results = [
                run(self.attack, self.model, self.images, self.labels, eps=eps, options=self.options)
                for eps in (EPS, 0.0)
            ]
        attacked, unattacked = (result.examples for result in results)
        distance = float((attacked - self.images).abs().max())
        self.require(distance <= EPS + 1e-6, f"an example is {distance:.6g} from its image, at most {EPS:.6g} allowed")
        self.require(bool(((attacked >= 0) & (attacked <= 1)).all()), "an example leaves [0, 1]")
        self.require(torch.equal(unattacked, self.images), "with eps = 0 an example is not its image")

    @contextmanager
    def _naming_the_attack(self) -> Iterator[None]:
        """What kdbench refuses, as an assertion that names the attack."""
        try:
            yield
        except KdbenchError as error:
            raise AssertionError(f"'{self.attack.name}': {error}") from error


def _state(model: nn.Module) -> dict[str, Any]:
    """Everything about a model that an attack could change, by name."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    found: dict[str, Any] = {name: value.clone() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        found[f"requires_grad of {name}"] = parameter.requires_grad
        found[f"gradient of {name}"] = parameter.grad is not None
    for name, module in model.named_modules():
        found[f"training mode of {name or 'the model'}"] = module.training
        found[f"hooks of {name or 'the model'}"] = sum(len(getattr(module, kind)) for kind in hooks)
    return found


def _global_numbers(device: torch.device) -> tuple[Any, ...]:
    _, keys, *rest = np.random.get_state()
    own = torch.get_rng_state() if device == CPU else torch.get_device_module(device).get_rng_state(device)
    return torch.get_rng_state(), own, random.getstate(), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
