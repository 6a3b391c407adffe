"""The conformance kit: what every training method and every attack must satisfy, for the tests of plugin authors.

    from kdbench.testing import check_method
    from my_plugin import my_method

    def test_conforms():
        check_method(my_method)

It trains tiny networks on random pixels, on the CPU, in seconds. ``check_attack`` does the same for an attack. That
neither mixes devices, as code does that was never run on a GPU, shows on a pretend one::

    with pretend_accelerator() as device:
        check_method(my_method, device=device)
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pluggy
import torch
from torch import Tensor, nn

from kdbench.attacks.conformance import check_attack
from kdbench.devices import CPU
from kdbench.errors import KdbenchError
from kdbench.inference.prediction import frozen, predict
from kdbench.inference.random_numbers import own_random_numbers
from kdbench.methods.context import Batch, Context
from kdbench.methods.method import Method, MethodSpec
from kdbench.methods.method import method as as_method
from kdbench.models import builtin_specs
from kdbench.plugin.loader import Plugins
from kdbench.pretend import Reads, counted_reads, pretend_accelerator
from kdbench.running.loading import build_network, load_predictor, network_builder
from kdbench.running.trial import TINY, tiny_network, tiny_set, tiny_training
from kdbench.specs import LabelNoise, Recipe, Training
from kdbench.training.checkpoint import load_checkpoint
from kdbench.training.loop import NotEnoughMemoryError, TrainingDivergedError, TrainingRun, fit

__all__ = ["Reads", "check_attack", "check_method", "counted_reads", "pretend_accelerator"]

RECIPE = Recipe(epochs=2, batch_size=10, lr=0.05, weight_decay=5e-4, augmentation="crop-flip")
IMAGES = 21
"""Two batches of ten and a last one of one."""
WRONG = 0.4
"""Rate of the label noise that the trial claims to have."""


def check_method(
    method: MethodSpec,
    *,
    params: Mapping[str, Any] | None = None,
    num_classes: tuple[int, ...] = (10, 100),
    device: torch.device = CPU,
) -> None:
    """Check what a plugin author can get wrong; raises ``AssertionError`` that names the rule and what was found.

    Finite scalar loss; gradients reach the student (and networks of the method's own that ask for them) and nothing
    else, nor a network that ``networks()`` does not name; the batch stays as it was, and so do the default dtype,
    Python's and NumPy's random numbers and torch's seed;
    frozen networks, training images and labels stay as they were; no state is shared between runs; parameters that are
    marked ``MeasuredOnly`` change nothing of it; the same seed gives the same weights; a last batch of one image and 10
    as well as 100 classes work; an interrupted training ends where an uninterrupted one does; the predictor gives one
    finite logit a class, and a checkpoint alone, loaded where no training data are, predicts the same. What the method
    needs is there as untrained networks, whatever should have trained them. All of it is trained and measured on
    ``device``, which may be a pretended accelerator: then tensors on the wrong device are found too.
    """
    assert isinstance(method, MethodSpec), f"expected what @kdbench.method returns, found {type(method).__name__}"
    resolved = method.validate(params or {})
    for classes in num_classes:
        trial = _Trial(method, resolved, classes, device)
        trial.check_gradients()
        first = trial.train(seed=0)
        if measured := method.split(resolved)[1]:
            usual = dataclasses.replace(trial, params=method.validate(method.split(resolved)[0])).train(seed=0)
            names = ", ".join(measured)
            _same(first, usual, f"'{method.name}': {names} is marked as for measuring alone and changes the training")
        trial.train(seed=1)
        _same(first, trial.train(seed=0), f"'{method.name}': the same seed gave other weights after another run")
        _same(
            first,
            trial.train(seed=0, devices=(device, device)),
            f"'{method.name}': a resumed training ended differently",
        )
        trial.check_inputs_untouched()


class _Stand(Method):
    """Stands for whatever trains a needed network."""


@functools.cache
def _stand_in() -> MethodSpec:
    """Made once: to hash the sources of a method of kdbench's own takes as long as a trial."""
    return as_method("stand-in")(_Stand)


@dataclasses.dataclass
class _Trial:
    """One method on random pixels of some classes."""

    method: MethodSpec
    params: dict[str, Any]
    classes: int
    device: torch.device = CPU

    def __post_init__(self) -> None:
        self.data = tiny_set(IMAGES, self.classes, WRONG)
        self.copy = (self.data.images.clone(), self.data.labels.clone())
        roles = self.method.needed(self.params)
        self.networks = {
            role: tiny_network(self.classes, number + 1).to(self.device) for number, role in enumerate(roles)
        }
        self.before = {role: _tensors(network) for role, network in self.networks.items()}
        self.plugins = Plugins(pluggy.PluginManager("kdbench"))
        for model in (TINY, *builtin_specs()):
            self.plugins.models.add(model.name, model, "the kit")
        for known in (self.method, _stand_in()):
            self.plugins.methods.add(known.name, known, "the kit")

    def _spec(self, seed: int, method: str | None = None) -> Training:
        params, measured = self.method.split(self.params)
        own = {"params": {}} if method else {"params": params, "measured": measured, "roles": self.networks}
        noise = LabelNoise(kind="symmetric", rate=WRONG)
        return tiny_training(
            method or self.method.name, recipe=RECIPE, noise=noise, seed=seed, source=self.method.source, **own
        )

    def check_gradients(self) -> None:
        """One step by hand: a finite differentiable scalar whose gradient goes where it may."""
        name, spec = self.method.name, self._spec(0)
        for network in self.networks.values():
            network.eval().requires_grad_(False)
        method, student = self.method.make(self.params), tiny_network(self.classes, 0)
        made = network_builder(self.plugins, spec, self.classes)
        with self._told():
            ctx = TrainingRun(spec, method, student, self.data, self.networks, self.device, made).ctx
        method.on_epoch_start(ctx)
        index, labels = torch.arange(4, device=self.device), self.data.labels[:4].to(self.device)
        drawn = method.views(self.data.images[:4].to(self.device).float() / 255, ctx)
        views = {"images": drawn} if isinstance(drawn, Tensor) else dict(drawn)
        assert "images" in views, f"'{name}': views() returned {sorted(views)}, one must be named 'images'"
        for view, images in views.items():
            assert images.shape == (4, 3, 32, 32), f"'{name}': view '{view}' has shape {tuple(images.shape)}"
            assert images.isfinite().all(), f"'{name}': view '{view}' is not finite"
        given = {f"views['{view}']": images for view, images in views.items() if view != "images"}
        given |= {"images": views["images"], "labels": labels, "index": index}
        copies = {what: tensor.clone() for what, tensor in given.items()}
        with self._global_state_untouched():
            loss = method.loss(Batch(views["images"], labels, index, views), ctx)
        for what, tensor in given.items():
            assert torch.equal(tensor, copies[what]), f"'{name}' changed batch.{what} in place"
        assert isinstance(loss, Tensor) and loss.ndim == 0, f"'{name}': the loss must be a scalar tensor"
        assert loss.isfinite(), f"'{name}': the loss is {loss.item()}"
        assert loss.requires_grad, f"'{name}': the loss does not depend on the student"
        known = itertools.chain([student], self.networks.values(), method.networks().values())
        strays = _parameters(loss) - {parameter for network in known for parameter in network.parameters()}
        stray = max(strays, key=Tensor.numel, default=None)
        assert stray is None, (
            f"'{name}': the loss depends on a parameter of shape {tuple(stray.shape)} that nothing trains"
            ": networks() must return its network, which is made in setup()"
        )
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        assert any(_moved(p) for p in student.parameters()), f"'{name}': no gradient reached the student"
        for role, network in self.networks.items():
            assert not any(_moved(p) for p in network.parameters()), f"'{name}': gradient reached the {role}"
        for own, network in method.networks().items():
            moved = any(_moved(p) for p in network.parameters() if not p.requires_grad)
            assert not moved, f"'{name}': gradient reached frozen parameters of '{own}'"

    def train(self, seed: int, *, devices: Sequence[torch.device] = ()) -> dict[str, Tensor]:
        """Two epochs; the tensors of the checkpoint. On two ``devices`` an epoch each, interrupted between them."""
        spec, contexts = self._spec(seed), list[Context]()
        stand = {"training": self._spec(seed, "stand-in").model_dump(mode="json"), "needs": {}}
        with tempfile.TemporaryDirectory() as folder, self._told():
            for device in devices or (self.device,):
                stop = 1 if len(devices) > 1 and not contexts else None
                for network in self.networks.values():
                    network.to(device)
                method = self.method.make(self.params)
                _keep_context(method, contexts)
                fit(
                    spec,
                    method,
                    build_network(self.plugins, spec, self.classes),
                    self.data,
                    self.networks,
                    folder=Path(folder),
                    device=device,
                    build=network_builder(self.plugins, spec, self.classes),
                    lineage=dict.fromkeys(self.networks, stand),
                    stop_after=stop,
                )
            path = Path(folder) / "checkpoint.safetensors"
            tensors, _ = load_checkpoint(path)
            trained = self._logits(method.predictor(contexts[-1]), device)
            loaded = self._logits(load_predictor(path, device=device, plugins=self.plugins), device)
        assert torch.allclose(trained, loaded, rtol=1e-3, atol=1e-4), (
            f"'{self.method.name}': a loaded checkpoint predicts otherwise than the trained network: what predictor() "
            "returns must be made of the student and networks() alone"
        )
        return tensors

    def _logits(self, predictor: nn.Module, device: torch.device) -> Tensor:
        with own_random_numbers(0, device):
            logits = predict(predictor, self.data.images, device=device)
        assert logits.shape == (IMAGES, self.classes), f"'{self.method.name}': predictor gave {tuple(logits.shape)}"
        return logits

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What the harness refuses as an assertion that names the method."""
        try:
            yield
        except (KdbenchError, TrainingDivergedError, NotEnoughMemoryError) as error:
            raise AssertionError(f"'{self.method.name}' with {self.classes} classes: {error}") from error

    @contextlib.contextmanager
    def _global_state_untouched(self) -> Iterator[None]:
        """Neither the default dtype nor random numbers that no seed of a training reaches, or that others use."""
        before = _global_state()
        yield
        changed = [what for what, state in _global_state().items() if state != before[what]]
        torch.set_default_dtype(before["torch's default dtype"])
        assert not changed, (
            f"'{self.method.name}' changed {', '.join(changed)}, which all code shares: draw from ctx.generator, and "
            "make tensors with a dtype of their own"
        )

    def check_inputs_untouched(self) -> None:
        """Data and borrowed networks are as they were."""
        name, (images, labels) = self.method.name, self.copy
        assert torch.equal(self.data.images, images), f"'{name}' changed the training images in place"
        assert torch.equal(self.data.labels, labels), f"'{name}' changed the training labels in place"
        for role, network in self.networks.items():
            _same(self.before[role], _tensors(network), f"'{name}' changed the {role}")


def _global_state() -> dict[str, Any]:
    numpy_state = np.random.get_state(legacy=False)
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "the seed of torch's random numbers": torch.initial_seed(),
        "Python's random numbers": random.getstate(),
        "NumPy's random numbers": repr(numpy_state["state"]),
    }


def _keep_context(method: Method, kept: list[Context]) -> None:
    """Have ``setup`` leave its context in ``kept``."""
    setup = method.setup

    def keeping(ctx: Context) -> None:
        kept.append(ctx)
        setup(ctx)

    method.setup = keeping  # type: ignore[method-assign]  # of this instance alone


def _moved(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)


def _parameters(loss: Tensor) -> set[nn.Parameter]:
    """All that its gradient reaches."""
    assert loss.grad_fn is not None
    left, seen, found = [loss.grad_fn], {loss.grad_fn}, set[nn.Parameter]()
    while left:
        node = left.pop()
        variable = getattr(node, "variable", None)
        if isinstance(variable, nn.Parameter):
            found.add(variable)
        new = {before for before, _ in node.next_functions if before is not None} - seen
        seen |= new
        left += new
    return found


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    with frozen(network):
        return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _same(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], message: str) -> None:
    assert expected.keys() == found.keys(), f"{message}: tensors {sorted(expected.keys() ^ found.keys())}"
    differing = [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])]
    assert not differing, f"{message}: {len(differing)} of {len(expected)} tensors differ, such as {differing[0]}"
