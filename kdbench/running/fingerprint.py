"""A short fixed training by which a record says what its method computes: whether a changed source changed anything.

The method trains a tiny network on random pixels, in float32 with one thread on the CPU: ten epochs of two steps, so
that what it does late in training is in it. Architectures are all the tiny one, and networks that it needs are
untrained. What a change does to real images alone, or less than ``TOLERANCE``, is not seen.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from kdbench.inference.prediction import freeze
from kdbench.methods.context import Batch, Context
from kdbench.methods.method import Method, MethodSpec
from kdbench.progress import say
from kdbench.results.record import Fingerprint
from kdbench.running.trial import tiny_network, tiny_set, tiny_training
from kdbench.shared_state import left_alone
from kdbench.specs import LabelNoise, Recipe, Suite
from kdbench.torch_state import exclusive
from kdbench.training.loop import NoLossError, TrainingRun

if TYPE_CHECKING:
    from kdbench.running.plan import Plan

VERSION: Final = 1
"""Raised when the short training becomes another one."""
# A small rate: what other processors round otherwise grows with it, and the losses show a method at any rate.
RECIPE: Final = Recipe(epochs=10, batch_size=10, lr=0.01, weight_decay=5e-4, augmentation="crop-flip")
TOLERANCE: Final = 1e-3
"""Relative difference up to which losses are the same. Other vector instructions, and oneDNN or none, changed those of
the first-party methods by 6e-6 at most, and by 2e-4 where a swap of labels depends on the last bit."""
SHARPNESS: Final = 4
"""Of the last layer's weights, times what they come with."""
COUNTED: Final = 0.4
"""Share of wrong labels that a method is told of noise without a rate: the real labels' share is not known here."""
IMAGES: Final = 20
CLASSES: Final = 10


class _Control(Method):
    """Cross-entropy, of no plugin: it changes where torch or kdbench does, and no method."""

    def loss(self, batch: Batch, ctx: Context) -> Tensor:
        return nn.functional.cross_entropy(ctx.student(batch.images), batch.labels)


def fingerprint(method: MethodSpec, params: Mapping[str, Mapping[str, Any]], suite: Suite) -> Fingerprint:
    """What a method computes with the resolved parameters of each condition. Raises as ``losses``."""
    found = {name: losses(method, given, suite.condition(name).noise) for name, given in params.items()}
    return Fingerprint(version=VERSION, control=control(), losses=found)


def alike(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two lists of losses are of the same computation."""
    close = (math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-5) for a, b in zip(one, other, strict=False))
    return len(one) == len(other) and all(close)


@functools.cache
def control() -> list[float]:
    """Mean loss of each epoch of the short training with cross-entropy."""
    return _losses(_Control(), "control", {}, None)


def losses(method: MethodSpec, params: Mapping[str, Any], noise: LabelNoise | None) -> list[float]:
    """Mean loss of each epoch of the short training with a method, to six significant digits.

    Args:
        method: as it is installed.
        params: resolved ones; those that only matter when a network is measured count as defaults.
        noise: of the condition; the labels are random in any case.

    Raises whatever the method raises on a network that may not be what it was made for.
    """
    resolved = method.validate(method.split(method.validate(params))[0])
    return _losses(method.make(resolved), method.name, resolved, noise, tuple(method.needed(resolved)))


def _losses(
    method: Method, name: str, params: Mapping[str, Any], noise: LabelNoise | None, roles: tuple[str, ...] = ()
) -> list[float]:
    data = tiny_set(IMAGES, CLASSES, _claimed(noise), patches=2)
    networks = {role: freeze(_network(number + 1)) for number, role in enumerate(roles)}
    training = tiny_training(name, params, RECIPE, noise, roles=roles)

    def build(model: str | None, dropout: float, seed: int) -> nn.Module:
        return _network(seed, dropout)

    with _alone():
        run = TrainingRun(training, method, _network(0), data, networks, torch.device("cpu"), build)
        return [float(f"{run.epoch(epoch)['loss']:.6g}") for epoch in range(RECIPE.epochs)]


def _claimed(noise: LabelNoise | None) -> float:
    """The share of wrong labels that a method is told."""
    if noise is None:
        return 0.0
    return COUNTED if noise.rate is None else noise.rate


def _network(seed: int, dropout: float = 0.0) -> nn.Module:
    """A tiny network with opinions: as it comes, its logits are all but equal, and no temperature shows."""
    network = tiny_network(CLASSES, seed, dropout)
    with torch.no_grad():
        network.get_parameter("network.head.weight").mul_(SHARPNESS)
    return network


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One thread, no trace in the global generator, and no word of what random pixels do to a method."""
    with exclusive(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def plan_fingerprint(plan: Plan) -> Fingerprint | None:
    """What the method computes, before it trains for hours; None, and a note, where it fails on a tiny network.

    Raises:
        NoLossError: its loss is no scalar.
    """
    try:
        with left_alone(f"method '{plan.method}'"):
            return fingerprint(plan.plugins.methods.get(plan.method), plan.params, plan.suite)
    except NoLossError as error:
        raise NoLossError(f"method '{plan.method}': {error.message}", error.hint) from error
    except (Exception, SystemExit) as error:  # anybody's method, and made for other networks than the tiny one
        say([
            f"note: the record will have no fingerprint of method '{plan.method}', which fails on a tiny network: "
            f"{type(error).__name__}: {error}"
        ])  # fmt: skip
        return None
