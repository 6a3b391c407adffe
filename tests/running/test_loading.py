"""From a checkpoint back to a network: ours with the networks it needed, and plain state dicts."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pluggy
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import kdbench
from kdbench import models
from kdbench.data import DataPlace, digits
from kdbench.errors import KdbenchError
from kdbench.models import builtin_specs
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.running.graph import RunGraph, Trained
from kdbench.running.loading import build_network, lineage_of, load_predictor, load_weights
from kdbench.running.options import RunOptions
from kdbench.sources import open_model
from kdbench.suites import load_suite
from kdbench.training.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import TINY_SUITE
from tests.running.conftest import MakeGraph


def open_checkpoint(path: Path, **options: Any) -> tuple[nn.Module, str | None, str | None]:
    opened = open_model(str(path), **options)
    return opened.network, opened.suite, opened.condition


def trained_elsewhere(name: str = "wrn-10-1") -> models.PixelModel:
    """A network with the CIFAR-10 suites' normalisation inside and batch statistics that are not the initial ones."""
    suite = load_suite("cifar10-lite")
    assert suite.mean is not None
    assert suite.std is not None
    network = models.create(name, num_classes=10, normalisation=(suite.mean, suite.std), seed=5)
    network.train()
    with torch.no_grad():
        network(torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    return network.eval()


@pytest.mark.parametrize("form", ["bare", "pixel"])
@pytest.mark.parametrize("suffix", ["pt", "state_dict.pth", "safetensors"])
def test_a_plain_state_dict_opens_with_its_models_name(tmp_path: Path, form: str, suffix: str) -> None:
    original = trained_elsewhere()
    state = (original.network if form == "bare" else original).state_dict()
    path = tmp_path / f"a.{suffix}"
    if suffix == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if "state_dict" in suffix else state, path)
    opened, suite, condition = open_checkpoint(path, suite="cifar10-lite", model="wrn-10-1")
    assert (suite, condition) == ("cifar10-lite", None)
    assert not any(module.training for module in opened.modules())
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    mean, std = (np.array(part)[None, :, None, None] for part in ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)))
    with torch.no_grad():
        expected = original.network(torch.from_numpy((pixels.numpy() - mean) / std).float())
        assert torch.allclose(opened(pixels), expected, atol=1e-4)


def test_a_plain_state_dict_is_measured_on_digits_by_default(tmp_path: Path) -> None:
    original = models.create("wrn-10-1", num_classes=10, seed=5).eval()
    torch.save(original.state_dict(), tmp_path / "a.pt")
    opened, suite, _ = open_checkpoint(tmp_path / "a.pt", model="wrn-10-1")
    assert suite == "digits"
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(opened(pixels), original(pixels), atol=1e-4)


def test_weights_of_several_are_chosen_and_said(tmp_path: Path) -> None:
    raw, average = (models.create("wrn-10-1", num_classes=10, seed=seed) for seed in (5, 6))
    kept = {"model": raw.network.state_dict(), "model_ema": average.network.state_dict()}
    torch.save(kept, tmp_path / "a.pt")
    with pytest.raises(KdbenchError, match=r"holds 2 networks: .* --weights model or --weights model_ema"):
        open_checkpoint(tmp_path / "a.pt", model="wrn-10-1")
    opened = open_model(str(tmp_path / "a.pt"), model="wrn-10-1", weights="model_ema")
    assert same_state(opened.network, average)
    assert (opened.weights, opened.notes[0]) == ("model_ema", "weights of model_ema")


def same_state(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_another_architecture_is_reported_in_one_line(tmp_path: Path) -> None:
    torch.save(trained_elsewhere("wrn-16-1").state_dict(), tmp_path / "a.pt")
    with pytest.raises(
        KdbenchError, match=r"a.pt is of another architecture: it has .* \(.*--model; they fit wrn-16-1\)"
    ) as caught:
        open_checkpoint(tmp_path / "a.pt", suite="cifar10-lite", model="wrn-10-1")
    assert "\n" not in str(caught.value)


def test_another_number_of_classes_is_another_architecture(tmp_path: Path) -> None:
    torch.save(models.create("wrn-10-1", num_classes=7).network.state_dict(), tmp_path / "a.pt")
    with pytest.raises(KdbenchError, match="another architecture: it has 7 classes, expected 10"):
        open_checkpoint(tmp_path / "a.pt", suite="cifar10-lite", model="wrn-10-1")


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_checkpoints_that_cannot_be_opened_are_errors_of_one_line(tmp_path: Path) -> None:
    state = {name: tensor.contiguous() for name, tensor in trained_elsewhere().state_dict().items()}
    save_file(state, tmp_path / "plain.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "plain.safetensors").read_bytes()[:5000])
    torch.save({**state, "x": Payload(tmp_path / "trap")}, tmp_path / "code.pt")
    cases: list[tuple[str, str | None, str]] = [
        ("plain.safetensors", None, "is a plain state dict .name its architecture with --model; they fit wrn-10-1"),
        ("plain.safetensors", "wrn-10-3", "no model named 'wrn-10-3' .did you mean 'wrn-10-1'"),
        ("cut.safetensors", "wrn-10-1", "cut.safetensors is damaged"),
        ("cut.safetensors", None, "cut.safetensors is damaged"),
        ("code.pt", "wrn-10-1", "code.pt holds more than tensors"),
        ("code.pt", None, "code.pt holds more than tensors"),
        ("missing.pt", "wrn-10-1", "no checkpoint at .*missing.pt"),
    ]
    for name, model, message in cases:
        with pytest.raises(KdbenchError, match=message) as caught:
            open_checkpoint(tmp_path / name, suite="cifar10-lite", model=model)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "trap").exists()


@dataclasses.dataclass(frozen=True)
class Ours:
    """A network that was trained with cross-entropy in the tiny suite."""

    suite: Path
    checkpoint: Path


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Ours:
    folder = tmp_path_factory.mktemp("ours")
    suite = folder / "tiny.toml"
    suite.write_text(TINY_SUITE.replace("epochs = 3", "epochs = 1"))
    options = RunOptions(DataPlace.default(), torch.device("cpu"), folder / "runs")
    graph = RunGraph(load_suite(str(suite)), digits.load(options.place), load_plugins(), options)
    return Ours(suite, graph.ensure(graph.student("sym-40", "ce", {}, 0), "sym-40", "ce").checkpoint)


def is_frozen(network: nn.Module) -> bool:
    return not any(module.training for module in network.modules()) and not any(
        parameter.requires_grad for parameter in network.parameters()
    )


def models_alone() -> Plugins:
    """What is installed where no plugin is: the models of kdbench itself."""
    plugins = Plugins(pluggy.PluginManager("kdbench"))
    for model in builtin_specs():
        plugins.models.add(model.name, model, "test")
    return plugins


def same_weights(network: nn.Module, tensors: dict[str, Tensor], owner: str) -> bool:
    state = network.state_dict()
    expected = {name for name in tensors if name.startswith(f"{owner}.")}
    return {f"{owner}.{name}" for name in state} == expected and all(
        torch.equal(tensor, tensors[f"{owner}.{name}"]) for name, tensor in state.items()
    )


def test_our_own_checkpoint_says_its_suite_and_condition(ours: Ours) -> None:
    network, suite, condition = open_checkpoint(ours.checkpoint, suite=str(ours.suite))
    assert (suite, condition) == (str(ours.suite), "sym-40")
    assert open_checkpoint(ours.checkpoint, suite="digits")[1:] == ("digits", None)
    with pytest.raises(KdbenchError, match="no suite named 'tiny'"):  # the one it was trained in, a file of the user's
        open_checkpoint(ours.checkpoint)
    assert is_frozen(network)
    assert same_weights(network, load_checkpoint(ours.checkpoint)[0], "student")


def test_our_own_checkpoint_opens_with_its_models_name_too(ours: Ours) -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, *_ = open_checkpoint(ours.checkpoint, suite="digits")
    named, *_ = open_checkpoint(ours.checkpoint, suite="digits", model="wrn-10-1")
    assert torch.equal(plain(images), named(images))
    with pytest.raises(KdbenchError, match="is kdbench's own, it has no 'ema' .omit --weights"):
        open_checkpoint(ours.checkpoint, suite="digits", weights="ema")
    with pytest.raises(KdbenchError, match="is of another architecture, wrn-10-1, not wrn-16-2"):
        open_checkpoint(ours.checkpoint, suite="digits", model="wrn-16-2")


def test_a_student_is_loaded_without_the_package_of_its_method(ours: Ours) -> None:
    network = load_predictor(str(ours.checkpoint), plugins=models_alone())
    assert is_frozen(network)
    assert same_weights(network, load_checkpoint(ours.checkpoint)[0], "student")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "made by another version of kdbench .version: input should be less than or equal to 2"),
        ({"training": {"from_the_future": 1}}, "made by another version of kdbench .from_the_future: extra inputs"),
        ({"needs": {"a": {"training": {"from_the_future": 1}, "needs": {}}}}, "made by another version of kdbench"),
        ({"needs": {"a": {"training": {}}}}, "made by another version of kdbench .needs.a.needs: field required"),
        ({"train_size": None}, "made by another version of kdbench .train_size: field required"),
        ({"mean": None, "predictor": None}, "made by another version of kdbench .predictor: field required"),
    ],
)
def test_what_another_version_wrote_is_one_line(
    ours: Ours, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    tensors, metadata = load_checkpoint(ours.checkpoint)
    for key, value in change.items():
        if value is None:
            del metadata[key]
        else:
            metadata[key] = {**metadata["training"], **value} if key == "training" else value
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, tensors, metadata)
    with pytest.raises(KdbenchError, match=f"checkpoint .*a.safetensors was {message}") as caught:
        load_predictor(path)
    assert "\n" not in str(caught.value)


def test_weights_must_fit_to_the_last_tensor() -> None:
    network = models.create("wrn-10-1", num_classes=10, seed=0)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    name, tensor = next(reversed(state.items()))
    for wrong in (
        {**state, name: tensor[:1]},
        {key: state[key] for key in state if key != name},
        {**state, "x": tensor},
    ):
        with pytest.raises(KdbenchError, match="of another architecture: 1 of"):
            load_weights(network, wrong, Path("a.pt"))
    load_weights(network, {key: value + 1 for key, value in state.items()}, Path("a.pt"))
    assert all(torch.equal(value, state[key] + 1) for key, value in network.state_dict().items())


def test_a_trainings_network_begins_at_its_seed_with_its_dropout_and_normalisation(ours: Ours) -> None:
    spec = lineage_of(ours.checkpoint, load_checkpoint(ours.checkpoint)[1]).training
    one, same, other = (
        build_network(load_plugins(), each, 10) for each in (spec, spec, spec.model_copy(update={"seed": 1}))
    )
    weights = [next(network.parameters()) for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    normalised = spec.model_copy(update={"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "dropout": 0.3})
    with_more = build_network(load_plugins(), normalised, 10).eval()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(with_more(images), one.eval()((images - 0.5) / 0.25), atol=1e-5)
    assert {part.p for part in with_more.modules() if isinstance(part, nn.Dropout)} == {0.3}


def kept(graph: RunGraph, method: str, folder: Path) -> Path:
    """The checkpoint of a method's student, with nothing beside it that its training needed."""
    trained: Trained = graph.ensure(graph.student("clean", method, {}, 0), "clean", method)
    target = folder / f"{method}.safetensors"
    shutil.copy(trained.checkpoint, target)
    shutil.rmtree(graph.folder)
    return target


def test_a_composed_predictor_is_loaded_from_the_checkpoint_alone(
    make_graph: MakeGraph, tmp_path: Path, staged: Plugins
) -> None:
    graph = make_graph(plugins=staged)
    spec = graph.student("sym-40", "peers", {}, 0)
    trained = graph.ensure(spec, "sym-40", "peers")
    tensors, metadata = load_checkpoint(trained.checkpoint)
    assert (metadata["version"], metadata["predictor"], metadata["noise_realised"]) == (2, "composed", 0.4)
    assert {name.partition(".")[0] for name in tensors} == {"student", "peer"}
    path = kept(graph, "peers", tmp_path)
    mean: Any = load_predictor(path, plugins=staged)
    assert type(mean).__name__ == "Mean"
    assert is_frozen(mean)
    tensors, metadata = load_checkpoint(path)
    assert same_weights(mean.members[0], tensors, "student")
    assert same_weights(mean.members[1], tensors, "peer")
    del tensors[next(name for name in tensors if name.startswith("peer."))]
    save_checkpoint(tmp_path / "less.safetensors", tensors, metadata)
    with pytest.raises(KdbenchError, match="1 of .* tensors differ"):
        load_predictor(tmp_path / "less.safetensors", plugins=staged)
    with pytest.raises(KdbenchError, match="^start: no method named 'ce'"):
        load_predictor(path, plugins=models_alone())


def test_needs_that_are_compositions_themselves_are_rebuilt(
    make_graph: MakeGraph, tmp_path: Path, staged: Plugins
) -> None:
    path = kept(make_graph(plugins=staged), "copies", tmp_path)
    state = torch.get_rng_state()
    loaded = load_predictor(path, plugins=staged)
    assert torch.equal(torch.get_rng_state(), state), "loading left the global generator as it was"
    tensors, metadata = load_checkpoint(path)
    assert metadata["predictor"] == "copy"
    assert list(metadata["needs"]["pair"]["needs"]) == ["start"]
    assert same_weights(loaded, tensors, "copy")
    assert any(isinstance(part, nn.Dropout) and part.p == 0.1 for part in loaded.modules())


def test_a_method_whose_networks_share_a_tensor_is_refused(
    make_graph: MakeGraph, tmp_path: Path, staged: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept(make_graph(plugins=staged), "copies", tmp_path)
    target: Any = staged.methods.get("copies").target

    def sharing(self: Any, ctx: kdbench.Context) -> None:
        self.copy = ctx.student

    monkeypatch.setattr(target, "setup", sharing)
    with pytest.raises(KdbenchError, match="'copy' and 'student' share a tensor"):
        load_predictor(path, plugins=staged)
