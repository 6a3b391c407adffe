"""The suites on photographs: what papers state for them, and a run on small copies of the official layouts."""

from __future__ import annotations

import dataclasses
import re
import urllib.error
from pathlib import Path

import pytest
import torch
from torch import nn

import kdbench
import kdbench.suites
from kdbench.data import make_image_set
from kdbench.data.food101 import CLASS_NAMES as DISHES
from kdbench.errors import KdbenchError
from kdbench.models import ModelSpec, build
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.running.needs import Needs, Node
from kdbench.running.plan import Plan
from kdbench.suites import load_suite
from kdbench.tasks import EvaluationContext, TestData
from kdbench.tasks.clean import Clean
from kdbench.testing import TINY, check_method
from kdbench.training.optimisers import learning_rate
from tests.data.photographs import write_food101, write_imagenet, write_webvision
from tests.data.small import plugins_of_small_data
from tests.plugins.helpers import make_context, with_peer


def node(suite: str, method: str, **params: object) -> Node:
    return Needs(load_suite(suite), load_plugins(), "web").student(method, params, 0)


@pytest.mark.parametrize(
    ("suite", "method", "rates", "params"),
    [
        ("webvision-mini", "ce", {0: 0.1, 1: 0.097, 299: 0.1 * 0.97**299}, {}),
        ("webvision-mini", "js", {0: 0.2, 2: 0.2 * 0.97**2}, {"pi1": 0.1, "scale": "none"}),
        ("webvision-mini", "gjs", {0: 0.1, 2: 0.1 * 0.97**2}, {"pi1": 0.1, "scale": "none"}),
        (
            "webvision-mini",
            "nrd",
            {99: 0.1, 100: 0.01, 200: 0.001},
            {"pi2": 0.8, "scale": "none", "images": "photographs"},
        ),
        (
            "webvision-mini-irv2",
            "elr-plus",
            {49: 0.02, 50: 0.002},
            {"weight": 3.0, "beta": 0.7, "alpha": 1.5, "decay_ramp_share": 0.0},
        ),
        ("webvision-mini-irv2", "dividemix", {0: 0.01, 50: 0.001}, {"lambda_u": 0.0, "alpha": 0.5}),
        ("webvision-mini-irv2", "smkd-p", {49: 0.02, 50: 0.002}, {"eta": 4.0}),
        ("food101", "nrd", {14: 0.01}, {"images": "photographs", "scale": "gjs"}),
        ("food101", "smkd-s", {14: 0.01, 15: 0.001}, {"eta": 4.0}),
    ],
)
def test_published_settings(suite: str, method: str, rates: dict[int, float], params: dict[str, object]) -> None:
    planned = node(suite, method)
    assert {name: planned.params[name] for name in params} == params
    recipe = planned.recipe
    for epoch, rate in rates.items():
        assert learning_rate(recipe, 10 * epoch + 9, 10 * recipe.epochs) == pytest.approx(rate)


@pytest.mark.parametrize("method", ["messy-collaboration", "fixed-label-corruption"])
@pytest.mark.parametrize("suite", ["webvision-mini", "webvision-mini-irv2", "food101"])
def test_on_wrong_labels_the_students_targets_vary(suite: str, method: str) -> None:
    """Arani et al., section 4.3.1, as where the suite makes the labels wrong."""
    assert node(suite, method).params["variant"] == "S"


@pytest.mark.parametrize("suite", ["webvision-mini", "webvision-mini-irv2"])
def test_dividemix_warms_up_in_one_epoch_of_web_images(suite: str) -> None:
    planned = node(suite, "dividemix")
    ctx = with_peer(make_context(build(TINY, num_classes=50, seed=0), classes=50), build(TINY, num_classes=50, seed=1))
    # The 65,944 web images of the 50 classes: one epoch of them is far above every floor in steps.
    steps = planned.recipe.epochs * (65_944 // planned.recipe.batch_size)
    ctx = dataclasses.replace(ctx, epochs=planned.recipe.epochs, steps=steps)
    method = planned.method.make(planned.params)
    method.setup(ctx)
    assert method.warmup == 1  # type: ignore[attr-defined]  # of DivideMix


@pytest.mark.parametrize("variant", ["nrd", "ner"])
def test_nrd_on_photographs_conforms(variant: str) -> None:
    check_method(
        load_plugins().methods.get("nrd"), params={"variant": variant, "images": "photographs"}, num_classes=(10,)
    )


class Small(nn.Module):
    """The mean colour, linearly: a network that can be trained on large images in no time."""

    def __init__(self, num_classes: int, weight: float | None) -> None:
        super().__init__()
        self.layer = nn.Linear(3, num_classes)
        if weight is not None:
            nn.init.constant_(self.layer.weight, weight)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(pixels.mean((2, 3)))
        return logits


def small(*, num_classes: int, pretrained: bool = False) -> Small:
    return Small(num_classes, 0.25 if pretrained else None)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """The installed plugins, and a small network that has pretrained weights."""
    found = plugins_of_small_data()
    found.models.add("small", ModelSpec("small", small, "for tests", image_size=224), "tests")
    for module in ("running.runner", "plugin.loader", "suites"):
        monkeypatch.setattr(f"kdbench.{module}.load_plugins", lambda: found)
    return found


def short_suite(folder: Path, name: str, epochs: int = 1) -> str:
    """A suite with the small network, a few steps long."""
    text = (Path(kdbench.suites.__file__).parent / f"{name}.toml").read_text()
    text = re.sub(r'(student|model) = "[^"]+"', r'\1 = "small"', text)
    text = re.sub(r"epochs = \d+", f"epochs = {epochs}", re.sub(r"milestones = .*\n", "", text))
    text = re.sub(r"batch_size = \d+", "batch_size = 5", text)
    path = folder / f"short-{name}.toml"
    path.write_text(text.replace(f'name = "{name}"', f'name = "short-{name}"'))
    return str(path)


def test_a_run_on_webvision_measures_both_test_sets_top1_and_top5(plugins: Plugins, tmp_path: Path) -> None:
    write_webvision(tmp_path / "data/webvision")
    write_imagenet(tmp_path / "data")
    suite = short_suite(tmp_path, "webvision-mini")
    record = kdbench.run(
        suite, "nrd", tasks=["clean", "ood"], data_dir=tmp_path / "data", out=tmp_path / "runs",
        download=False,
    )  # fmt: skip
    found = {(score.task, score.metric): score for score in record.scores}
    assert {key: score.n for key, score in found.items()} == {
        ("clean", "accuracy"): 3,
        ("clean", "top5_accuracy"): 3,
        ("ood", "accuracy"): 50,
        ("ood", "top5_accuracy"): 50,
    }
    assert found["ood", "top5_accuracy"].setting == {"dataset": "imagenet-val-webvision50"}
    assert found["ood", "top5_accuracy"].value >= found["ood", "accuracy"].value
    assert not record.hashes.label_noise


def test_networks_of_a_pretrained_suite_start_from_those_weights(plugins: Plugins, tmp_path: Path) -> None:
    write_food101(tmp_path / "data")
    suite = short_suite(tmp_path, "food101")
    started = []

    class Looks(kdbench.Method):
        """Notes what student and peer start from."""

        def setup(self, ctx: kdbench.Context) -> None:
            self.peer = ctx.new_network("peer")
            started.extend(network.network.layer.weight.mean().item() for network in (ctx.student, self.peer))

        def networks(self) -> dict[str, nn.Module]:
            return {"peer": self.peer}

        def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> torch.Tensor:
            return nn.functional.cross_entropy(ctx.student(batch.images), batch.labels)

        def predictor(self, ctx: kdbench.Context) -> nn.Module:
            return kdbench.models.MeanLogits(ctx.student, self.peer)

    plugins.methods.add("looks", kdbench.method("looks")(Looks), "tests")
    record = kdbench.run(
        suite, "looks", tasks=["clean"], data_dir=tmp_path / "data", out=tmp_path / "runs", download=False
    )
    assert record.status == "finished"
    assert started[2:4] == [0.25, 0.25]
    others = started[:2] + started[4:]  # the rehearsal, and a checkpoint that is loaded, do without them
    assert len(others) > 2 and 0.25 not in others


def test_pretrained_weights_that_cannot_be_had_end_a_run_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    monkeypatch.setattr("kdbench.running.runner.load_plugins", plugins_of_small_data)
    write_food101(tmp_path / "data")
    with pytest.raises(
        KdbenchError, match=r"pretrained weights can't be had from .*resnet50-0676ba61\.pth: .*no route"
    ):
        kdbench.run("food101", tasks=["clean"], data_dir=tmp_path / "data", out=tmp_path / "runs", download=False)
    assert not list((tmp_path / "runs").glob("**/resume.pt"))


@pytest.mark.parametrize(
    ("suite", "change", "message"),
    [
        ("digits", ('student = "wrn-10-1"', 'student = "inception-resnet-v2"'),
         r"model 'inception-resnet-v2' takes images of 75 or more pixels a side, those of 'digits' have 32"),
        ("webvision-mini", ('student = "resnet50-imagenet"', 'student = "resnet34"'),
         r"model 'resnet34' takes images of 8 to 96 pixels a side, those of 'webvision-mini' have 224"),
        ("food101", ('student = "resnet50-imagenet"', 'student = "inception-resnet-v2"'),
         "model 'inception-resnet-v2' found pretrained=True, but its builder has no pretrained weights"),
    ],
)  # fmt: skip
def test_a_network_that_does_not_fit_the_suite_is_told_when_planned(
    tmp_path: Path, suite: str, change: tuple[str, str], message: str
) -> None:
    text = (Path(kdbench.suites.__file__).parent / f"{suite}.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(*change))
    with pytest.raises(KdbenchError, match=message):
        Plan.make(load_suite(str(path)), load_plugins(), "ce", {}, None, ["clean"])


@pytest.mark.parametrize("method", ["mkd", "kdcl", "smkd-s", "smkd-p"])
def test_a_peer_that_does_not_exist_or_fit_is_told_when_planned(method: str) -> None:
    with pytest.raises(KdbenchError, match="no model named 'resnet19' .did you mean 'resnet18'"):
        Plan.make(load_suite("digits"), load_plugins(), method, {"peer": "resnet19"}, None, None)
    with pytest.raises(KdbenchError, match="model 'resnet50-imagenet' takes images of 64 or more pixels"):
        Plan.make(load_suite("digits"), load_plugins(), method, {"peer": "resnet50-imagenet"}, None, None)
    plan = Plan.make(load_suite("digits"), load_plugins(), method, {"peer": "shufflenet-v2"}, None, None)
    assert plan.params["clean"]["peer"] == "shufflenet-v2"


def test_top5_needs_more_than_five_classes() -> None:
    assert len(DISHES) == 101
    ctx = EvaluationContext("clean", torch.device("cpu"), Clean.Settings(top5=True), task="clean")
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    test = make_image_set("few", images, torch.tensor([0, 1]), ("a", "b", "c"))
    with pytest.raises(KdbenchError, match="top5 found 3 classes"):
        Clean().evaluate(Small(3, None), TestData(test), ctx)


def test_top5_counts_labels_among_the_five_largest_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 8, 8), generator=generator).to(torch.uint8)
    test = make_image_set("many", images, torch.randint(0, 12, (40,), generator=generator), tuple("abcdefghijkl"))
    network = Small(12, None)
    ctx = EvaluationContext("clean", torch.device("cpu"), Clean.Settings(top5=True), task="clean")
    top1, top5 = Clean().evaluate(network, TestData(test), ctx)
    with torch.no_grad():
        ranks = network(test.images / 255).argsort(1, descending=True)
    places = [row.tolist().index(label) for row, label in zip(ranks, test.labels.tolist(), strict=True)]
    assert top1.value == pytest.approx(sum(place < 1 for place in places) / 40)
    assert top5.value == pytest.approx(sum(place < 5 for place in places) / 40)
    for score in (top1, top5):
        name = Clean().results_key(score)
        assert name is not None and ctx.correct[name].float().mean().item() == pytest.approx(score.value)
