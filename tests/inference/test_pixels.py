"""Pixels as a model can read them: `view`, writing in place, float64, scripted modules, one channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench.attacks import judge_transfer, pgd, pgd_best_iterate, run, transfer
from kdbench.errors import KdbenchError
from kdbench.inference.batch_dependence import batch_dependence
from kdbench.inference.pixels import Adapter, lay_out
from kdbench.inference.prediction import folded_copy, freeze, frozen, is_random, predict
from tests.attacks.dark_and_light import from_the_ball, made

CPU = torch.device("cpu")
# They are deprecated, and checkpoints of them are around.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")


class LeNet(nn.Module):
    """The commonest idiom there is: convolutions, then ``view``."""

    def __init__(self, channels: int = 3, *, norm: bool = False) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, 6, 5, padding=2), nn.Conv2d(6, 8, 3)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(8 * 3 * 3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv2(self.pool(self.conv1(x).relu()))).relu()
        x = self.pool(x)
        found: Tensor = self.fc(x.view(x.size(0), -1))
        return found


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3 * 16 * 16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(self.fc1(x.view(-1, 3 * 16 * 16)).tanh())
        return found


class InPlace(LeNet):
    """Normalises the images that it is given, themselves."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(0.4).div_(0.3))


class Clamps(LeNet):
    """Writes into its input what stands there already, which a leaf of autograd refuses all the same."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clamp_(0, 1))


class Uncounted(LeNet):
    """Normalises the images that it is given, where torch counts no change."""

    def forward(self, x: Tensor) -> Tensor:
        x.data.sub_(0.4).div_(0.3)
        return super().forward(x)


class OneChannel(LeNet):
    """Grey inside, so that a slice of the pixels goes into the first convolution."""

    def __init__(self) -> None:
        super().__init__(channels=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :1])


def weighted(model: nn.Module) -> nn.Module:
    for number, parameter in enumerate(model.parameters()):
        nn.init.normal_(parameter, 0, 0.2, generator=torch.Generator().manual_seed(number))
    return model


def some_images(count: int = 40, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, 16, 16, generator=torch.Generator().manual_seed(0))


KINDS: dict[str, Callable[[], nn.Module]] = {
    "LeNet": LeNet,
    "LeNet with batch norm": lambda: LeNet(norm=True),
    "MLP": MLP,
    "in place": InPlace,
    "clamp in place": Clamps,
    "in place, uncounted": Uncounted,
    "one channel": OneChannel,
    "float64": lambda: LeNet().double(),
    "scripted": lambda: torch.jit.script(LeNet()),
    "traced in place": lambda: torch.jit.trace(InPlace().eval(), some_images(3)),
    "traced": lambda: torch.jit.trace(LeNet(norm=True).eval(), some_images(3)),
}


def expected(model: nn.Module, images: Tensor) -> Tensor:
    """Eval-mode logits, image by image, of contiguous copies."""
    dtype = next(model.parameters()).dtype
    with torch.no_grad():
        return torch.cat([model.eval()(image[None].clone().to(dtype)) for image in images]).float()


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return weighted(KINDS[request.param]()).eval()


def test_logits_are_those_of_contiguous_pixels_of_its_own(model: nn.Module) -> None:
    images = some_images()
    logits = expected(model, images)
    kept = images.clone()
    assert torch.allclose(predict(model, images, device=CPU), logits, atol=1e-4)
    assert torch.allclose(predict(folded_copy(model, images, CPU), images, device=CPU), logits, atol=1e-4)
    assert not is_random(model, images)
    assert batch_dependence(model, images, CPU) == pytest.approx(0, abs=1e-5)
    assert torch.equal(images, kept)


def test_every_attack_runs_and_leaves_the_images_alone(model: nn.Module) -> None:
    images = some_images(12)
    labels = expected(model, images).argmax(1)
    labels[0] = (labels[0] + 1) % 4
    kept, right = images.clone(), torch.arange(12) > 0
    result = pgd(model, images, labels, eps=0.1, step_size=0.05, steps=2, keep_examples=True, gradient_draws=2)
    assert torch.equal(result.clean_correct, right)
    assert result.examples is not None
    assert torch.equal(expected(model, result.examples).argmax(1) == labels, result.robust[2])
    best = pgd_best_iterate(model, images, labels, eps=0.1, step_size=0.05, steps=2)
    judged = judge_transfer(model, images, best, labels)
    assert torch.equal(judged.adversarial_correct, expected(model, best).argmax(1) == labels)
    assert torch.equal(transfer(model, model, images, labels, eps=0.1, step_size=0.05, steps=2).clean_correct, right)
    assert torch.equal(run(made(from_the_ball), model, images, labels, eps=0.1).clean_correct, right)
    assert torch.equal(images, kept)


@pytest.mark.parametrize("name", ["apgd", "pgd", "torchattacks:PGD"])
@pytest.mark.parametrize("kind", ["LeNet", "in place", "in place, uncounted", "scripted"])
def test_registered_attacks_break_them(name: str, kind: str) -> None:
    pytest.importorskip("torchattacks")
    pytest.importorskip("pyautoattack")
    model, images = weighted(KINDS[kind]()).eval(), some_images(8)
    labels = expected(model, images).argmax(1)
    result = run(name, model, images, labels, eps=0.3)
    assert result.clean_correct.all()
    assert torch.equal(result.robust, expected(model, result.examples).argmax(1) == labels)


def test_what_reads_any_pixels_is_itself_and_what_does_not_is_adapted_once() -> None:
    images = some_images()
    plain = weighted(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 4)))
    with frozen(plain, images) as ready:
        assert ready is plain
    adapted = folded_copy(weighted(MLP()), images, CPU)
    assert isinstance(adapted, Adapter)
    with frozen(adapted, images) as ready:
        assert ready is adapted


def test_a_network_with_view_and_batch_norms_is_folded_too() -> None:
    model = weighted(LeNet(norm=True))
    with frozen(model, some_images()) as fast:
        assert isinstance(fast, nn.Module)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())


def test_a_model_that_cannot_read_the_images_says_so_itself() -> None:
    with pytest.raises(RuntimeError, match="expected input"):
        predict(weighted(LeNet(channels=1)), some_images(), device=CPU)


@pytest.fixture
def double_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_by_default")
def test_another_default_dtype_changes_no_number_and_stays() -> None:
    model, images = weighted(LeNet().float()), some_images().float()
    labels = expected(model, images).argmax(1)

    def found() -> Any:
        logits = predict(model, images, device=CPU)
        examples = pgd(model, images, labels, eps=0.1, step_size=0.05, steps=2, keep_examples=True).examples
        noise = run(made(from_the_ball), model, images, labels, eps=0.1).examples
        return logits, examples, noise

    double = found()
    assert torch.get_default_dtype() == torch.float64
    torch.set_default_dtype(torch.float32)
    for one, other in zip(double, found(), strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)
    own = weighted(LeNet().double())
    assert torch.allclose(predict(own, images, device=CPU), expected(own, images), atol=1e-4)


def test_a_frozen_script_module_is_measured() -> None:
    model = torch.jit.freeze(torch.jit.script(weighted(LeNet(norm=True)).eval()))
    images = some_images()
    with torch.no_grad():
        logits = torch.cat([model(image[None]) for image in images])
    assert torch.allclose(predict(model, images, device=CPU), logits, atol=1e-4)


def test_weights_are_laid_out_for_convolutions_where_the_network_reads_images_then() -> None:
    images = some_images(2)
    plain, view = weighted(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())), weighted(LeNet())
    with torch.no_grad():
        layout, logits = lay_out(plain, images, "plain")
        assert (layout, plain[0].weight.is_contiguous(memory_format=layout)) == (torch.channels_last, True)
        assert torch.allclose(logits, plain(images), atol=1e-5)
        layout, logits = lay_out(view, images, "view")
        assert (layout, view.get_parameter("conv1.weight").is_contiguous()) == (torch.contiguous_format, True)
        assert torch.allclose(logits, expected(view, images), atol=1e-5)
        with pytest.raises(KdbenchError, match="network 'student' changes its input in place"):
            lay_out(weighted(InPlace()), images, "'student'")


def test_a_loaded_network_reads_the_users_contiguous_pixels() -> None:
    """Weights that are laid out otherwise would lay out what its convolutions answer, and ``view`` fails."""
    images = some_images(3)
    assert freeze(weighted(LeNet()))(images).shape == (3, 4)
