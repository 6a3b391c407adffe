"""What must be trained before what: names are checked, seeds derived and circles found before any data are read."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pluggy
import pytest
import torch
from torch import Tensor, nn

import kdbench
import kdbench.data
from kdbench.cli.describe import describe_entry
from kdbench.errors import KdbenchError
from kdbench.models import builtin_specs
from kdbench.plugin.loader import Plugins, load_plugins
from kdbench.running.loading import load_predictor
from kdbench.running.needs import Needs, is_extended, tuned_recipe
from kdbench.running.runner import record_path, run
from kdbench.specs import Recipe, Suite, read_suite
from kdbench.training.checkpoint import load_checkpoint, save_checkpoint
from kdbench.training.seeds import derive_seed


def loss(batch: kdbench.Batch, ctx: kdbench.Context, *, p: float = 0.0) -> Tensor:
    """Cross-entropy."""
    return nn.functional.cross_entropy(ctx.student(batch.images), batch.labels)


def plugins_with(**needs: Any) -> Plugins:
    """The built-in models and data sets, a method for the suite's own networks, and one each with these needs."""
    plugins = Plugins(pluggy.PluginManager("kdbench"))
    for model in builtin_specs():
        plugins.models.add(model.name, model, "test")
    for dataset in kdbench.data.builtin_specs():
        plugins.datasets.add(dataset.name, dataset, "test")
    for name, needed in {"ce": (), **needs}.items():
        plugins.methods.add(name, kdbench.method(name, needs=needed)(loss), "test")
    return plugins


@pytest.fixture
def suite(tiny_suite: Path) -> Suite:
    return read_suite(tiny_suite)


def student_of(suite: Suite, params: dict[str, Any] | None = None, seed: int = 3, **needs: Any) -> Any:
    return Needs(suite, plugins_with(**needs), "clean").student(next(iter(needs)), params or {}, seed)


def test_a_suites_network_has_the_suites_seed_and_a_student_like_one_the_runs(suite: Suite) -> None:
    node = student_of(
        suite, m={"a": "teacher", "b": kdbench.Network("reference"), "c": kdbench.Network("student", dropout=0.2)}
    )
    assert node.seed == 3
    found = {role: (needed.seed, needed.dropout, needed.suite_role) for role, needed in node.needs.items()}
    assert found == {
        "a": (derive_seed(1000, "teacher"), 0.0, "teacher"),
        "b": (derive_seed(2000, "reference"), 0.0, None),
        "c": (derive_seed(3, "student"), 0.2, None),
    }


def test_the_suites_own_recipe_makes_the_suites_own_network(suite: Suite) -> None:
    plain = student_of(suite, m={"a": "teacher"}).needs["a"]
    spelled = student_of(suite, m={"a": kdbench.Network()}).needs["a"]
    assert (plain.seed, plain.model, plain.params, plain.recipe) == (
        spelled.seed, spelled.model, spelled.params, spelled.recipe,
    )  # fmt: skip


def test_student_like_networks_are_the_same_at_any_depth_of_one_run_and_another_in_another(suite: Suite) -> None:
    needs = {"outer": {"stage": kdbench.Network("student", "inner"), "own": kdbench.Network("student")},
             "inner": {"start": kdbench.Network("student")}}  # fmt: skip
    node = student_of(suite, **needs)
    assert node.needs["stage"].needs["start"].seed == node.needs["own"].seed == derive_seed(3, "student")
    assert student_of(suite, seed=4, **needs).needs["own"].seed == derive_seed(4, "student")


def test_a_teachers_own_student_like_need_does_not_depend_on_the_run(suite: Suite) -> None:
    needs = {"outer": {"t": kdbench.Network("teacher", "inner")}, "inner": {"start": kdbench.Network("student")}}
    deep = [student_of(suite, seed=seed, **needs).needs["t"].needs["start"].seed for seed in (3, 4)]
    assert deep[0] == deep[1] == derive_seed(derive_seed(1000, "teacher"), "student")


def test_a_share_of_the_epochs_moves_the_milestones(suite: Suite) -> None:
    recipe = Recipe(epochs=200, batch_size=1, lr=0.1, milestones=(60, 120, 150))
    assert (recipe.with_share(0.1).epochs, recipe.with_share(0.1).milestones) == (20, (6, 12, 15))
    assert (recipe.with_share(0.001).epochs, recipe.with_share(0.001).milestones) == (1, ())
    node = student_of(suite, m={"a": kdbench.Network("student", epochs_share=0.34)})
    assert (node.recipe.epochs, node.needs["a"].recipe_for(200).epochs) == (3, 1)


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"m": {"techer"}}, "no network role named 'techer' .did you mean 'teacher'"),
        ({"m": {"a": kdbench.Network("techer")}}, "no network role named 'techer'"),
        ({"m": {"a": kdbench.Network(method="cee")}}, "no method named 'cee' .did you mean 'ce'"),
        ({"m": {"a": kdbench.Network(params={"q": 1})}}, "no parameter named 'q'"),
        ({"m": {"a": kdbench.Network(params={"p": "x"})}}, "parameter p: input should be a valid number"),
        ({"m": {"a": kdbench.Network(model="wrn-10-3")}}, "no model named 'wrn-10-3'"),
        ({"m": {"a": kdbench.Network(model="resnet18", dropout=0.1)}}, "its builder takes no dropout"),
        ({"m": {"a": kdbench.Network("student", "m")}}, "needed for its own training: m needs m needs m"),
        ({"m": {"a": kdbench.Network("student", "n")}, "n": {"b": kdbench.Network("student", "m")}},
         "needed for its own training: m needs n needs m needs n"),
        ({"m": lambda params: {"a": kdbench.Network("student", "m", {"p": params["p"] + 1})}}, "more than 8 deep"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_there_are_data(suite: Suite, needs: dict[str, Any], message: str) -> None:
    with pytest.raises(KdbenchError, match=message) as caught:
        student_of(suite, **needs)
    assert "\n" not in str(caught.value)


def test_a_suites_network_that_needs_itself_is_a_circle_too(tiny_suite: Path) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace('method = "ce"', 'method = "m"'))
    with pytest.raises(KdbenchError, match="needed for its own training: m needs m needs m"):
        student_of(read_suite(tiny_suite), m={"teacher"})


def test_a_chain_of_stages_that_ends_is_no_circle(suite: Suite) -> None:
    def earlier(params: Any) -> dict[str, kdbench.Network]:
        return {"earlier": kdbench.Network("student", "m", {"p": params["p"] - 1})} if params["p"] else {}

    node = student_of(suite, {"p": 2}, m=earlier)
    assert node.needs["earlier"].needs["earlier"].params == {"p": 0}
    assert node.needs["earlier"].needs["earlier"].needs == {}


def test_parameters_that_do_not_go_together_are_refused_in_planning(suite: Suite) -> None:
    class Picky(kdbench.Method):
        """Picky."""

        def __init__(self, *, low: float = 0.0, high: float = 1.0) -> None:
            if low > high:
                raise KdbenchError(f"low {low} is above high {high}", "exchange them")

    plugins = plugins_with()
    plugins.methods.add("picky", kdbench.method("picky")(Picky), "test")
    with pytest.raises(KdbenchError, match="low 2.0 is above high 1.0"):
        Needs(suite, plugins, "clean").student("picky", {"low": 2}, 0)


def test_a_longer_schedule_is_extended_and_a_tuned_or_shorter_one_is_not() -> None:
    standard = Recipe(epochs=200, batch_size=1, lr=0.1, milestones=(60, 120, 150))
    longer = tuned_recipe("m", standard, {"epochs": 300})
    assert (longer.epochs, longer.milestones) == (300, (90, 180, 225))
    stated = tuned_recipe("m", standard, {"epochs": 250, "milestones": [75]})
    assert stated.milestones == (75,)
    same = tuned_recipe("m", standard, {"lr": 0.3})
    other_drops = tuned_recipe("m", standard, {"epochs": 200, "milestones": [100]})
    found = [is_extended(recipe, standard) for recipe in (longer, stated, other_drops, same, standard.with_share(0.5))]
    assert found == [True, True, True, False, False]
    with pytest.raises(KdbenchError, match="method 'm', recipe .*must lie inside the 9 epochs"):
        tuned_recipe("m", standard, {"epochs": 9, "milestones": [10]})


class Peers(kdbench.Method):
    """Two networks, a network trained before them, and their mean as predictor."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.peer = ctx.new_network("peer")
        self.prior = torch.zeros(ctx.num_classes, device=ctx.device)

    def networks(self) -> dict[str, nn.Module]:
        return {"peer": self.peer}

    def state(self) -> dict[str, Tensor]:
        return {"prior": self.prior}

    def load_state(self, state: Any) -> None:
        self.prior = state["prior"]

    def on_epoch_start(self, ctx: kdbench.Context) -> None:
        if ctx.epoch == 0:
            self.prior = ctx.predict(ctx.networks["start"]).softmax(1).mean(0)

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        both = (ctx.student(batch.images), self.peer(batch.images))
        losses = [nn.functional.cross_entropy(logits + self.prior.log(), batch.labels) for logits in both]
        return losses[0] + losses[1]

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return Mean(ctx.student, self.peer)


class Mean(nn.Module):
    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pixels: Tensor) -> Tensor:
        return sum(member(pixels) for member in self.members) / len(self.members)  # type: ignore[return-value]  # never empty


def follow(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
    """Follows the peers of an earlier stage."""
    targets = ctx.networks["peers"](batch.images).softmax(1)
    return nn.functional.cross_entropy(ctx.student(batch.images), targets)


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Plugins:
    """The installed plugins and two methods: one with peers and a network of its own, one that follows it."""
    plugins = load_plugins.__wrapped__()
    (tmp_path / "recipes.toml").write_text("[[peers]]\nextended = { epochs = 4 }\n")
    peers = kdbench.method(
        "peers", needs={"start": kdbench.Network("student", epochs_share=0.4)}, recipes=tmp_path / "recipes.toml"
    )
    plugins.methods.add("peers", peers(Peers), "test")
    needs = {"peers": kdbench.Network("student", "peers"), "guide": "teacher"}
    plugins.methods.add("follow", kdbench.method("follow", needs=needs)(follow), "test")
    monkeypatch.setattr("kdbench.running.runner.load_plugins", lambda: plugins)
    return plugins


def test_stages_are_trained_in_turn_shared_recorded_and_loaded_from_the_checkpoint_alone(
    tiny_suite: Path, tmp_path: Path, staged: Plugins
) -> None:
    options: dict[str, Any] = {"conditions": ["sym-40"], "tasks": ["noisy_label"], "out": tmp_path / "runs"}
    record = run(str(tiny_suite), "follow", **options)
    assert record.status == "finished"
    keys = ["sym-40/teacher", "sym-40/student/peers/start", "sym-40/student/peers"]
    assert list(record.hashes.networks) == keys
    assert {key: record.spec.trainings[key] for key in keys} == {
        key: network.training for key, network in record.hashes.networks.items()
    }
    assert record.budget == "extended", "its first stage was"
    assert record.spec.recipes["sym-40"].epochs == 3
    peers = run(str(tiny_suite), "peers", **options)
    assert peers.hashes.networks["sym-40/student/start"] == record.hashes.networks[
        "sym-40/student/peers/start"
    ].model_copy(update={"reused": True})
    assert (peers.budget, peers.spec.recipes["sym-40"].epochs) == ("extended", 4)
    assert peers.hashes.students["sym-40"].training != record.hashes.networks["sym-40/student/peers"].training
    folder = record_path(peers, tmp_path / "runs").parent
    shutil.rmtree(tmp_path / "runs/tiny/trainings")
    mean = load_predictor(folder / "checkpoint-sym-40.safetensors", plugins=staged)
    assert type(mean).__name__ == "Mean"
    digits = kdbench.data.digits.load(kdbench.data.DataPlace.default())
    with torch.no_grad():
        correct = mean(digits.test.images.float() / 255).argmax(1) == digits.test.labels
    assert correct.double().mean().item() == peers.select("noisy_label", "accuracy")[0].value
    tensors, metadata = load_checkpoint(folder / "checkpoint-sym-40.safetensors")
    assert metadata["version"] == 2
    assert metadata["predictor"] == "composed"
    assert metadata["noise_realised"] == 0.4
    assert {name.partition(".")[0] for name in tensors} == {"student", "peer"}
    metadata["version"] = 3
    save_checkpoint(tmp_path / "future.safetensors", tensors, metadata)
    with pytest.raises(KdbenchError, match="made by another version of kdbench .no 'version up to 2 but 3'"):
        load_predictor(tmp_path / "future.safetensors", plugins=staged)
    del tensors["peer.network.fc.bias" if "peer.network.fc.bias" in tensors else next(iter(tensors))]
    save_checkpoint(tmp_path / "less.safetensors", tensors, {**metadata, "version": 2})
    with pytest.raises(KdbenchError, match="1 of .* tensors differ"):
        load_predictor(tmp_path / "less.safetensors", plugins=staged)


class Copies(kdbench.Method):
    """Goes on from the first of two trained peers, and is evaluated as a copy of it."""

    def setup(self, ctx: kdbench.Context) -> None:
        self.copy = copy.deepcopy(ctx.networks["pair"].members[0]).requires_grad_(True)  # type: ignore[operator,index,union-attr]  # torch leaves modules untyped

    def networks(self) -> dict[str, nn.Module]:
        return {"copy": self.copy}

    def loss(self, batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return sum(nn.functional.cross_entropy(net(batch.images), batch.labels) for net in (ctx.student, self.copy))  # type: ignore[return-value]  # never empty

    def predictor(self, ctx: kdbench.Context) -> nn.Module:
        return self.copy


def test_a_checkpoint_rebuilds_needs_that_are_compositions_themselves(
    tiny_suite: Path, tmp_path: Path, staged: Plugins
) -> None:
    needs = {"pair": kdbench.Network("student", "peers", dropout=0.1)}
    staged.methods.add("copies", kdbench.method("copies", needs=needs)(Copies), "test")
    record = run(str(tiny_suite), "copies", conditions=["clean"], tasks=["clean"], out=tmp_path / "runs")
    path = record_path(record, tmp_path / "runs").with_name("checkpoint-clean.safetensors")
    shutil.rmtree(tmp_path / "runs/tiny/trainings")
    state = torch.get_rng_state()
    loaded = load_predictor(path, plugins=staged)
    assert torch.equal(torch.get_rng_state(), state), "loading left the global generator as it was"
    tensors, metadata = load_checkpoint(path)
    assert metadata["predictor"] == "copy"
    assert list(metadata["needs"]["pair"]["needs"]) == ["start"]
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, tensors[f"copy.{name}"])
    assert any(isinstance(part, nn.Dropout) and part.p == 0.1 for part in loaded.modules())


def test_a_stage_that_diverges_is_named_in_a_failed_record(tiny_suite: Path, tmp_path: Path, staged: Plugins) -> None:
    def diverges(batch: kdbench.Batch, ctx: kdbench.Context) -> Tensor:
        return ctx.student(batch.images).sum() * float("nan")

    staged.methods.add("diverges", kdbench.method("diverges")(diverges), "test")
    needs = {"bad": kdbench.Network(method="diverges")}
    staged.methods.add("hopeless", kdbench.method("hopeless", needs=needs)(follow), "test")
    record = run(str(tiny_suite), "hopeless", conditions=["clean"], tasks=["clean"], out=tmp_path / "runs")
    assert record.status == "failed"
    assert record.error == "condition clean: student/bad: the training loss became nan in epoch 1"


def test_needs_are_described_in_words(staged: Plugins) -> None:
    described = describe_entry("follow", staged.methods.get("follow"), "test")
    assert described["needs"] == {
        "guide": "the suite's teacher",
        "peers": "a network like the student, trained by peers",
    }
    described = describe_entry("peers", staged.methods.get("peers"), "test")
    assert described["needs"] == {"start": "a network like the student, trained by ce, for 40% of the epochs"}
    assert json.loads(json.dumps(described)) == described
