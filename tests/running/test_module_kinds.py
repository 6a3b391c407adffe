"""Models as people have them: measured as the network inside, or refused in a sentence that says what to do."""

from __future__ import annotations

import collections
import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from kdbench.data import DataPlace, digits
from kdbench.errors import KdbenchError
from kdbench.inference.module_kinds import as_network
from kdbench.running.evaluation import evaluate

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


class Net(nn.Module):
    """A convolution, a batch norm and a linear layer; random weights, but not the same for two classes."""

    def __init__(self, classes: int = 10, channels: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv, self.norm = nn.Conv2d(channels, 4, 3, stride=4), nn.BatchNorm2d(4)
        self.linear = nn.Linear(4 * 8 * 8, classes)
        with torch.no_grad():
            for tensor in self.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) - 0.4)
            self.norm.running_var = torch.full((4,), 0.05)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(torch.relu(self.norm(self.conv(images))).flatten(1))
        return logits


class Wrapped(nn.Module):
    """What ``answer`` makes of the network's logits."""

    def __init__(self, answer: Callable[[Tensor], Any], net: nn.Module | None = None) -> None:
        super().__init__()
        self.net, self.answer = net or Net(), answer

    def forward(self, images: Tensor) -> Any:
        return self.answer(self.net(images))


class Named(NamedTuple):
    features: Tensor
    logits: Tensor


class ModelOutput(collections.OrderedDict[str, Any]):
    """As Hugging Face's: a dict whose values are attributes and numbered parts as well."""

    def __getitem__(self, key: str | int) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else list(self.values())[key]


@dataclasses.dataclass
class Answer:
    hidden: Tensor
    scores: Tensor


class Changes(Net):
    """Normalises its input in place and flattens with ``view``."""

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = super().forward(images.sub_(0.0).view(-1, 3, 32, 32))
        return found


class TwoInputs(Net):
    def forward(self, images: Tensor, extra: Tensor) -> Tensor:  # type: ignore[override]  # that is its fault
        return super().forward(images) + extra


class Broken(Net):
    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.nothing(images)  # type: ignore[operator]  # that is its fault
        return found


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.LazyLinear(10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1))
        return logits


def compiled(net: nn.Module) -> nn.Module:
    found = torch.compile(net, backend="eager")
    assert isinstance(found, nn.Module)
    return found


def compiled_in_place() -> nn.Module:
    net = Net()
    net.compile(backend="eager")
    return net


def weight_normed() -> nn.Module:
    net = Net()
    nn.utils.parametrizations.weight_norm(net.linear)
    return net


def exported(batch: object | None) -> nn.Module:
    shapes = None if batch is None else ({0: batch},)
    return torch.export.export(Net().eval(), (torch.rand(4, 3, 32, 32),), dynamic_shapes=shapes).module()


def frozen_script() -> nn.Module:
    frozen: nn.Module = torch.jit.freeze(torch.jit.script(Net().eval()))
    return frozen


def far(logits: Tensor) -> Tensor:
    """More classes than there are."""
    return logits.repeat(1, 100)


MEASURED: dict[str, Callable[[], nn.Module]] = {
    "eval mode": lambda: Net().eval(),
    "training mode": lambda: Net().train(),
    "frozen parameters": lambda: Net().requires_grad_(False),
    "channels last": lambda: Net().to(memory_format=torch.channels_last),
    "float64": lambda: Net().double(),
    "DataParallel": lambda: nn.DataParallel(Net()),
    "compiled": lambda: compiled(Net()),
    "compiled in place": compiled_in_place,
    "compiled DataParallel": lambda: compiled(nn.DataParallel(Net())),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(Net()),
    "Sequential": lambda: nn.Sequential(nn.Identity(), Net()),
    "scripted": lambda: torch.jit.script(Net().eval()),
    "traced": lambda: torch.jit.trace(Net().eval(), torch.rand(2, 3, 32, 32)),  # type: ignore[no-untyped-call]  # torch's
    "frozen script": frozen_script,
    "symbolic trace": lambda: torch.fx.symbolic_trace(Net().eval()),
    "exported program's module": lambda: exported(torch.export.Dim("batch", min=1)),
    "weight norm": weight_normed,
    "in-place input and view": Changes,
    "log-softmax": lambda: Wrapped(lambda logits: logits.log_softmax(1)),
    "tuple of one": lambda: Wrapped(lambda logits: (logits,)),
    "tuple with features": lambda: Wrapped(lambda logits: (logits.new_zeros(len(logits), 64), logits)),
    "tuple with None": lambda: Wrapped(lambda logits: (logits, None)),
    "list with a loss": lambda: Wrapped(lambda logits: [logits.sum(), logits]),
    "dict by name": lambda: Wrapped(lambda logits: {"aux": -logits, "logits": logits}),
    "dict by shape": lambda: Wrapped(lambda logits: {"out": logits, "features": logits.repeat(1, 3)}),
    "named tuple": lambda: Wrapped(lambda logits: Named(-logits, logits)),
    "dataclass": lambda: Wrapped(lambda logits: Answer(logits[:, :5], logits)),
    "ModelOutput": lambda: Wrapped(lambda logits: ModelOutput(loss=logits.sum(), logits=logits, hidden=(logits,))),
    "DataParallel that returns a tuple": lambda: nn.DataParallel(Wrapped(lambda logits: (logits, logits.sum()))),
}  # fmt: skip

REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "float16": (
        lambda: Net().half(),
        r"the model's weights conv\.weight are float16, expected float32: .* \(call \.float\(\) on the model\)",
    ),
    "bfloat16": (lambda: Net().bfloat16(), r"conv\.weight are bfloat16, expected float32: .*call \.float\(\)"),
    "half in DataParallel": (lambda: nn.DataParallel(Net().half()), r"conv\.weight are float16"),
    "lazy layers": (Lazy, r"linear\.weight have no values yet: it has lazy layers \(run it on a batch"),
    "meta device": (lambda: Net().to("meta"), r"conv\.weight are on the device 'meta', .*\(load its weights first"),
    "class": (lambda: Net, r"the model is the class Net \(give a torch\.nn\.Module .*: Net\(\.\.\.\)\)"),
    "function": (lambda: lambda images: images, r"the model is a function \(give a torch\.nn\.Module"),
    "state dict": (lambda: Net().state_dict(), r"is a OrderedDict \(give .*build the network and call its load_state"),
    "path": (lambda: "net.pth", r"is a str \(give .*`kdbench evaluate` reads files"),
    "exported program": (
        lambda: torch.export.export(Net().eval(), (torch.rand(4, 3, 32, 32),)),
        r"an ExportedProgram .*its \.module\(\)",
    ),
    "exported for one batch size": (
        lambda: exported(None), r"cannot read images of shape \(8, 3, 32, 32\): Guard failed.*torch\.export\.Dim",
    ),
    "ModuleList": (lambda: nn.ModuleList([Net()]), r"cannot read images .*missing the required \"forward\""),
    "two inputs": (TwoInputs, r"missing 1 required positional argument: 'extra' .*RGB images of 32x32.*nothing else"),
    "own bug": (Broken, r"cannot read images .*'Broken' object has no attribute 'nothing'"),
    "gray images": (lambda: Net(channels=1), r"cannot read images of shape \(8, 3, 32, 32\): Given groups=1"),
    "other classes": (lambda: Net(100), r"returned \(8, 100\) for 8 images, expected \(8, 10\) logits"),
    "maps": (lambda: Wrapped(lambda logits: logits[..., None]), r"returned \(8, 10, 1\) .*\(flatten what it returns"),
    "decisions": (lambda: Wrapped(lambda logits: logits.argmax(1)), r"returned \(8,\) for 8 images"),
    "one-hot": (lambda: Wrapped(lambda logits: (logits > 0).long()), r"returned int64, expected float32 logits"),
    "probabilities": (lambda: Wrapped(lambda logits: logits.softmax(1)), r"returned probabilities .*leave the softmax"),
    "NaN": (lambda: Wrapped(lambda logits: logits / 0 * 0), r"the model's logits are not finite"),
    "two answers": (
        lambda: Wrapped(lambda logits: (logits, -logits)),
        r"returned a tuple with 2 outputs of shape \(8, 10\): 0, 1 \(wrap it in a module that returns the logits alone",
    ),
    "no answer": (
        lambda: Wrapped(lambda logits: {"out": far(logits), "loss": logits.sum()}),
        r"returned dict of out: \(8, 1000\), loss: \(\) for 8 images, expected \(8, 10\) logits",
    ),
    "logits of other classes": (
        lambda: Wrapped(lambda logits: {"logits": far(logits), "features": logits}),
        r"returned \(8, 1000\) for 8 images, expected \(8, 10\) logits",
    ),
    "None": (lambda: Wrapped(lambda logits: None), r"returned NoneType for 8 images"),
    "squeezed": (lambda: Wrapped(lambda logits: logits.squeeze()), r"returned \(10,\) for 1 images, expected \(1"),
}  # fmt: skip


@pytest.fixture(scope="module")
def right() -> Tensor:
    """Bool (500,): which test images the network is right on."""
    data = digits.load(DataPlace.default()).test
    with torch.no_grad():
        found: Tensor = Net().eval()(data.images.float() / 255).argmax(1) == data.labels
    return found


@pytest.mark.parametrize("kind", MEASURED)
def test_what_holds_a_network_is_measured_as_the_network(kind: str, right: Tensor) -> None:
    assert 0.02 < right.double().mean() < 0.5, "it is wrong now and then"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own makers
        model = MEASURED[kind]()
    modes = [getattr(module, "training", False) for module in model.modules()]
    found = evaluate(model, examples=200, tasks=["clean"])
    part = found.correct["clean/index"]
    assert torch.equal(found.correct["clean/correct"], right[part])
    assert [getattr(module, "training", False) for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_measured_is_refused_in_a_line(kind: str) -> None:
    make, message = REFUSED[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = make()
    with pytest.raises(KdbenchError, match=message) as caught:
        evaluate(model, tasks=["clean"])
    assert "\n" not in str(caught.value)


def test_attacks_reach_through_a_tuple(tiny_suite: Any) -> None:
    """Gradients are those of the logits, whatever is returned beside them."""
    plain = evaluate(Net(), str(tiny_suite), tasks=["pgd"])
    wrapped = evaluate(Wrapped(lambda logits: (logits, -logits.exp().sum())), str(tiny_suite), tasks=["pgd"])
    assert [score.value for score in wrapped.scores] == [score.value for score in plain.scores]


def test_the_network_of_a_distributed_training_is_measured_by_itself(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        net = Net()
        assert as_network(nn.parallel.DistributedDataParallel(net)) is net
    finally:
        torch.distributed.destroy_process_group()


def test_a_wrapper_that_does_something_of_its_own_is_measured_as_it_is() -> None:
    wrapper = nn.DataParallel(Net())
    wrapper.register_forward_hook(lambda module, inputs, logits: -logits)
    assert as_network(wrapper) is wrapper
    net = Net()
    assert as_network(nn.DataParallel(nn.DataParallel(net))) is net
