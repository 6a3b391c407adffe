from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.data import DataPlace, Dataset, digit_fonts, digits
from kdbench.errors import KdbenchError
from kdbench.running import graph
from kdbench.running.evaluated import Evaluation
from kdbench.running.evaluation import evaluate
from kdbench.training.checkpoint import load_checkpoint
from kdbench.training.seeds import derive_seed
from tests.conftest import TINY_SUITE
from tests.tasks.test_transfer import attacked


class Thirds(nn.Module):
    """A linear model of a digit's pixels by fixed weights: better than nothing, worse than good."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=False)
        self.pool = nn.AvgPool2d(4)
        self.linear = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.linear(self.pool(self.norm(images))[:, 0].flatten(1))
        return found


@pytest.fixture(scope="module")
def data() -> Dataset:
    return digits.load(DataPlace.default())


@pytest.fixture(scope="module")
def template(data: Dataset) -> dict[str, Tensor]:
    """Weights of ``Thirds``: the mean image of each class."""
    assert data.train is not None
    model = Thirds()
    pixels = data.train.images.float() / 255
    with torch.no_grad():
        model.norm.running_mean = pixels.mean((0, 2, 3))
        model.norm.running_var = pixels.var((0, 2, 3))
        pooled = model.eval().pool(model.norm(pixels))[:, 0].flatten(1)
        means = torch.stack([pooled[data.train.labels == label].mean(0) for label in range(10)])
        model.linear.weight.copy_(0.2 * means)
        model.linear.bias.copy_(-0.1 * means.square().sum(1))
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def model(template: dict[str, Tensor]) -> Thirds:
    model = Thirds()
    model.load_state_dict(template)
    model.train()
    model.pool.eval()
    model.linear.bias.requires_grad_(False)
    return model


def state_of(model: nn.Module) -> tuple[list[bool], list[bool], list[Tensor]]:
    modes = [module.training for module in model.modules()]
    return modes, [p.requires_grad for p in model.parameters()], [t.clone() for t in model.state_dict().values()]


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    network = Thirds()
    network.load_state_dict(model.state_dict())
    with torch.no_grad():
        found = network.eval()(images.float() / 255).argmax(1).numpy()
    return float((found == labels.numpy()).mean())


def value(found: Evaluation, task: str, metric: str, **setting: Any) -> float:
    [score] = [
        score
        for score in found.scores
        if (score.task, score.metric) == (task, metric) and setting.items() <= score.setting.items()
    ]
    return score.value


def test_a_plain_module_is_measured_and_left_as_it_was(
    model: Thirds, data: Dataset, tiny_suite: Path, tmp_path: Path
) -> None:
    before = state_of(model)
    found = evaluate(model, str(tiny_suite), out=tmp_path / "runs")
    after = state_of(model)
    assert after[:2] == before[:2]
    assert all(torch.equal(*pair) for pair in zip(before[2], after[2], strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert {score.task for score in found.scores} == {"clean", "calibration", "pgd"}
    assert {score.condition for score in found.scores} == {"clean"}
    right = accuracy(model, data.test.images, data.test.labels)
    assert 0.6 < right < 1
    assert value(found, "clean", "accuracy") == right
    assert found.correct["clean/correct"].double().mean().item() == right
    assert {"clean/correct", "calibration/confidence", "pgd/index", "pgd/pgd-std-3/correct"} <= set(found.correct)
    assert found.suite == "tiny"
    assert found.datasets == {"digits": data.sha256}
    assert not (tmp_path / "runs").exists(), "nothing had to be trained"
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["datasets"] == found.datasets
    assert [score["value"] for score in plain["scores"]] == [score.value for score in found.scores]


def test_tasks_are_those_that_were_asked_for_and_a_set_is_read_when_it_is_needed(
    model: Thirds, data: Dataset, tiny_suite: Path
) -> None:
    found = evaluate(model, str(tiny_suite), tasks=iter(["ood", "clean"]))
    assert [score.task for score in found.scores] == ["ood", "clean"]
    away = digit_fonts.load(DataPlace.default())
    assert value(found, "ood", "accuracy", dataset="digits-fonts") == (
        accuracy(model, away.test.images, away.test.labels)
    )
    assert found.datasets.keys() == {"digits", "digits-fonts"}
    assert found.datasets["digits"] == data.sha256


def test_settings_of_the_suite_are_used(model: Thirds, tiny_suite: Path) -> None:
    found = evaluate(model, str(tiny_suite), tasks=["pgd"])
    robust = [score for score in found.scores if score.metric == "robust_accuracy"]
    assert {score.setting["steps"] for score in robust} == {2, 3}
    assert {score.n for score in robust} == {10}


def test_a_condition_can_be_named_and_files_the_scores(model: Thirds, tiny_suite: Path) -> None:
    found = evaluate(model, str(tiny_suite), tasks=["noisy_label", "calibration"], condition="sym-40")
    assert {(score.task, score.condition) for score in found.scores} == {
        ("noisy_label", "sym-40"), ("calibration", "sym-40"),
    }  # fmt: skip


def test_a_task_that_does_not_apply_to_the_condition_is_refused(model: Thirds, tiny_suite: Path) -> None:
    """As ``run`` does: an accuracy filed as noisy-label accuracy of a condition with clean labels means nothing."""
    with pytest.raises(KdbenchError, match="task 'noisy_label' does not apply to condition clean"):
        evaluate(model, str(tiny_suite), tasks=["noisy_label"], condition="clean")


def test_by_default_only_tasks_that_apply_to_the_condition_are_run(model: Thirds, tiny_suite: Path) -> None:
    """Clean accuracy is of students that were trained on clean labels."""
    found = evaluate(model, str(tiny_suite), condition="sym-40")
    assert "calibration" in {score.task for score in found.scores}
    assert "clean" not in {score.task for score in found.scores}


class Odd(nn.Module):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Thirds(7), {}, r"the model returned \(8, 7\) for 8 images, expected \(8, 10\) logits"),
        (Odd(torch.zeros(2, 10, 1)), {}, r"the model returned \(2, 10, 1\) for 8 images"),
        (Odd((torch.zeros(2, 10), None)), {}, r"the model returned tuple of 0: \(2, 10\), 1: NoneType for 8 images"),
        (lambda images: images, {}, "the model is a function .give a torch.nn.Module"),
        ({"state_dict": {}}, {}, "the model is a dict .give a torch.nn.Module"),
        (Thirds(), {"tasks": ["cleen"]}, "no task named 'cleen' .did you mean 'clean'"),
        (Thirds(), {"suite": "digitz"}, "no suite named 'digitz' .did you mean 'digits'"),
        (Thirds(), {"condition": "sym40"}, "no condition named 'sym40' .did you mean 'sym-40'"),
        (Thirds(), {"device": "gpu"}, "no device named 'gpu'"),
        (Thirds(), {"suite": "cifar10-lite", "data_dir": "nowhere"}, "data folder nowhere is not a folder"),
    ],
)
def test_mistakes_are_errors_of_one_line(model: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match=message) as caught:
        evaluate(model, out=tmp_path / "runs", download=False, **{"suite": "digits", **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_model_of_wrong_classes_is_left_as_it_was(tiny_suite: Path) -> None:
    model = Thirds(7).train()
    with pytest.raises(KdbenchError, match="expected"):
        evaluate(model, str(tiny_suite))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@dataclasses.dataclass
class Transferred:
    suite: Path
    out: Path
    found: Evaluation

    def checkpoint(self, role: str) -> Path:
        """Of the network that was trained from this role's seed."""
        seed = derive_seed({"teacher": 1000, "reference": 2000}[role], role)
        [path] = [
            path
            for path in self.out.glob("tiny/trainings/*/checkpoint.safetensors")
            if load_checkpoint(path)[1]["training"]["seed"] == seed
        ]
        return path


@pytest.fixture(scope="module")
def transferred(template: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Transferred:
    """A transfer attack on a plain module, for which two networks had to be trained."""
    folder = tmp_path_factory.mktemp("transferred")
    suite = folder / "tiny.toml"
    suite.write_text(TINY_SUITE)
    model = Thirds()
    model.load_state_dict(template)
    return Transferred(suite, folder / "runs", evaluate(model, str(suite), tasks=["transfer"], out=folder / "runs"))


def test_transfer_trains_the_suites_networks_and_attacks_with_each(
    transferred: Transferred, model: Thirds, data: Dataset
) -> None:
    assert len(list(transferred.out.glob("tiny/trainings/*/checkpoint.safetensors"))) == 2
    index = transferred.found.correct["transfer/index"]
    images, labels = data.test.images[index], data.test.labels[index]
    target = model.eval()
    sources = {"teacher": kdbench.load_predictor(transferred.checkpoint("teacher")), "self": target}
    sources["reference"] = kdbench.load_predictor(transferred.checkpoint("reference"))
    for role, source in sources.items():
        examples = attacked(source, images, labels, eps=8 / 255, step=0.006, steps=2)
        with torch.no_grad():
            right = target(examples).argmax(1) == labels
        assert torch.equal(transferred.found.correct[f"transfer/{role}/correct"], right)
        assert value(transferred.found, "transfer", "accuracy", source=role) == right.double().mean().item()


def test_transfer_finds_the_trained_networks_again(
    transferred: Transferred, model: Thirds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*arguments: Any, **options: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(graph, "fit", fit)
    kept = list(transferred.out.glob("tiny/examples/*.safetensors"))
    attacked = []
    module = sys.modules["kdbench.attacks.transfer"]
    make = module.pgd_best_iterate

    def counting(*given: Any, **how: Any) -> Any:
        attacked.append(given)
        return make(*given, **how)

    monkeypatch.setattr(module, "pgd_best_iterate", counting)
    again = evaluate(model, str(transferred.suite), tasks=["transfer"], out=transferred.out)
    assert again.scores == transferred.found.scores
    assert len(attacked) == 1, "examples of the suite's two networks are kept, those of the model are made"
    assert len(kept) == 2
    assert kept == list(transferred.out.glob("tiny/examples/*.safetensors"))


class LeNet(nn.Module):
    """Flattens with ``view``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.linear = nn.Conv2d(3, 6, 5, stride=2), nn.MaxPool2d(2), nn.Linear(6 * 7 * 7, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv(x).relu())
        logits: Tensor = self.linear(x.view(x.size(0), -1))
        return logits


class MLP(nn.Module):
    """Normalises its input in place, and flattens with ``view``."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 32 * 32, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x.sub_(0.5).view(-1, 3 * 32 * 32))
        return logits


@pytest.mark.parametrize("kind", [LeNet, MLP])
def test_networks_that_flatten_with_view_are_measured(kind: type[nn.Module], data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = kind().eval()
    suite = tmp_path / "tiny.toml"
    corruption = "\n[tasks.corruption]\nsettings = { subset = 10 }\n[tasks.ood]\n"
    suite.write_text(TINY_SUITE + corruption)
    tasks = ["clean", "calibration", "ood", "pgd", "corruption"]
    found = evaluate(model, str(suite), tasks=tasks)
    assert {score.task for score in found.scores} == set(tasks)
    with torch.no_grad():
        right = torch.cat([model(image[None].float() / 255).argmax(1) for image in data.test.images])
    assert value(found, "clean", "accuracy") == (right == data.test.labels).double().mean().item()
    assert [check.passed for check in found.checks if check.name == "batch_dependence"] == [True]


class BatchStatistics(Thirds):
    """Normalises by the batch that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=False, track_running_stats=False)


def test_a_model_whose_answer_depends_on_the_batch_is_flagged_once_for_all_its_scores(
    model: Thirds, tiny_suite: Path
) -> None:
    dependent = BatchStatistics()
    dependent.load_state_dict(model.state_dict(), strict=False)
    found = evaluate(dependent, str(tiny_suite), tasks=["clean", "calibration"])
    [check] = [check for check in found.checks if check.name == "batch_dependence"]
    assert not check.passed
    assert check.value > check.limit
    assert all(check.concerns(score) for score in found.scores)
    steady = evaluate(model, str(tiny_suite), tasks=["clean"])
    [check] = [check for check in steady.checks if check.name == "batch_dependence"]
    assert (check.name, check.passed) == ("batch_dependence", True)
    assert check.value <= 1e-5
