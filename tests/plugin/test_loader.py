from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdbench.errors import KdbenchError
from kdbench.plugin import builtin, hookspecs
from kdbench.plugin.loader import load_plugins
from kdbench.running.runner import run
from tests.plugin.conftest import Install

METHOD = """
import kdbench

@kdbench.method("{name}")
def m(batch, ctx):
    "A method."
    return ctx.student(batch.images).square().mean()

@kdbench.hookimpl
def kdbench_register_methods():
    return [m]
"""


def test_first_party_methods_come_in_by_entry_points() -> None:
    plugins = load_plugins()
    assert not plugins.failures
    assert {"ce", "kd", "nrd"} <= set(plugins.methods)
    assert plugins.methods.origin("nrd").startswith("kdbench ")


def test_a_strangers_plugin_is_found_and_attributed(install: Install) -> None:
    install("stranger", METHOD.format(name="mine"))
    assert load_plugins().methods.origin("mine") == "stranger 1.0"


def test_an_interruption_says_which_plugin_was_being_imported(install: Install) -> None:
    install("slow", "raise KeyboardInterrupt")
    with (
        pytest.raises(KeyboardInterrupt),
        pytest.warns(match="plugin 'slow' of slow 1.0 was being imported: --no-plugins leaves it out"),
    ):
        load_plugins()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(0)", "SystemExit: 0"),
        ("import os\nif os.fork() == 0: os._exit(0)\nos._exit(os.wait()[1])", "SystemExit: 0"),
        ("def (", "SyntaxError"),
        (
            "import kdbench\n@kdbench.hookimpl\ndef kdbench_register_metods():\n    return []",
            "unknown hook 'kdbench_register_metods'",
        ),
        (
            "import kdbench\n@kdbench.hookimpl\ndef kdbench_register_methods(extra):\n    return []",
            "Argument.s. .'extra'. are declared in the hookimpl but can not be found in the hookspec",
        ),
        (
            "import kdbench\n@kdbench.hookimpl\ndef kdbench_register_methods():\n    return [1]",
            "kdbench_register_methods returned a int",
        ),
        (
            "import kdbench\n@kdbench.hookimpl\ndef kdbench_register_tasks():\n    return None",
            "kdbench_register_tasks returned NoneType",
        ),
        (
            "import torch\ntorch.set_num_threads(torch.get_num_threads() + 1)\ntorch.relu = None",
            r"SharedStateError: it changed what .* torch's threads: .* before, .* now; torch\.relu was replaced",
        ),
    ],
)
def test_a_broken_plugin_is_left_out_and_takes_nobody_down(install: Install, source: str, error: str) -> None:
    relu, threads = torch.relu, torch.get_num_threads()
    install("broken", source)
    install("stranger", METHOD.format(name="mine"))
    plugins = load_plugins()
    assert [failure.origin for failure in plugins.failures] == ["broken 1.0"]
    assert pytest.importorskip("re").search(error, plugins.failures[0].error)
    assert plugins.methods.get("mine").name == "mine"
    assert plugins.methods.get("ce").name == "ce"
    assert torch.relu is relu
    assert torch.get_num_threads() == threads


def test_a_broken_plugin_is_named_when_what_was_asked_for_is_missing(install: Install) -> None:
    install("broken", "raise RuntimeError('no luck')")
    with pytest.raises(KdbenchError, match="no method named 'theirs'.*broken 1.0: RuntimeError: no luck"):
        load_plugins().methods.get("theirs")


def test_a_module_with_a_dash_is_named(install: Install, tmp_path: Path) -> None:
    install("dashed", METHOD.format(name="mine"))
    (tmp_path / "dashed-1.0.dist-info/entry_points.txt").write_text("[kdbench]\ndashed = my-plugin\n")
    load_plugins.cache_clear()
    [failure] = load_plugins().failures
    assert failure.error == (
        "its entry point names 'my-plugin', which is no Python module (a dash is written '_' there)"
    )


@pytest.mark.parametrize(
    ("chosen", "methods"),
    [("none", set()), ("one", {"first"}), (" two-dist , ", {"second"}), ("", {"first", "second"})],
)
def test_plugins_of_others_can_be_chosen(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, methods: set[str]
) -> None:
    install("one", METHOD.format(name="first"))
    install("two-dist", METHOD.format(name="second"))
    (tmp_path / "two_dist-1.0.dist-info/entry_points.txt").write_text("[kdbench]\ntwo = two_module\n")
    (tmp_path / "two_module.py").write_text(METHOD.format(name="second"))
    monkeypatch.setenv("KDBENCH_PLUGINS", chosen)
    load_plugins.cache_clear()
    found = load_plugins()
    assert not found.failures
    assert {"first", "second"} & set(found.methods) == methods
    assert "ce" in found.methods


def test_a_chosen_plugin_that_is_not_there_is_a_mistake(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("mine", METHOD.format(name="first"))
    monkeypatch.setenv("KDBENCH_PLUGINS", "mein")
    load_plugins.cache_clear()
    with pytest.raises(KdbenchError, match="no plugin .of KDBENCH_PLUGINS. named 'mein' .did you mean 'mine'"):
        load_plugins()


def test_two_plugins_with_one_name_are_both_named(install: Install) -> None:
    install("first", METHOD.format(name="twin"))
    install("second", METHOD.format(name="twin"))
    with pytest.raises(KdbenchError, match="two plugins bring a method named 'twin': 'first 1.0' and 'second 1.0'"):
        load_plugins().methods.get("twin")


def test_an_observer_sees_the_record_and_its_failure_costs_nothing(
    install: Install, tiny_suite: Path, tmp_path: Path
) -> None:
    seen = tmp_path / "seen.txt"
    observer = f"""
from pathlib import Path

import kdbench

@kdbench.hookimpl
def kdbench_record_written(record, path):
    Path({str(seen)!r}).write_text(f"{{record.run_id}} {{path.exists()}}")
"""
    install("watcher", observer)
    hook = "import kdbench\n@kdbench.hookimpl\ndef kdbench_record_written(path):\n    raise"
    install("clumsy", f"{hook} OSError('full')")
    install("leaving", f"{hook} SystemExit(3)")
    with (
        pytest.warns(UserWarning, match="observer clumsy:clumsy of clumsy 1.0 failed: OSError: full"),
        pytest.warns(UserWarning, match="observer leaving:leaving of leaving 1.0 failed: SystemExit: 3"),
    ):
        record = run(str(tiny_suite), "ce", tasks=["clean"], out=tmp_path / "runs")
    assert seen.read_text() == f"{record.run_id} True"


EVERYTHING = """
from pathlib import Path

import kdbench
import torch


@kdbench.attack("to-grey")
def to_grey(model, images, labels, ctx, *, share: float = 1.0):
    "Towards grey."
    return images + share * (0.5 - images)


class Majority(kdbench.Task):
    "How often the commonest predicted class is predicted."

    name = "majority"

    def evaluate(self, predictor, data, ctx):
        predicted = ctx.logits(predictor, data.test).argmax(1)
        return [ctx.share("share", predicted == predicted.mode().values, higher_is_better=False)]


def load_stripes(place):
    generator = torch.Generator().manual_seed(0)
    def part(n):
        labels = torch.arange(n) % 2
        images = torch.randint(0, 100, (n, 3, 32, 32), generator=generator)
        images[labels == 1, :, ::2] += 150
        return kdbench.data.make_image_set("stripes", images.to(torch.uint8), labels, ("plain", "striped"), "generated")
    return kdbench.Dataset("stripes", ("plain", "striped"), 32, part(60), part(40))


def tiny_net(*, num_classes):
    pool = torch.nn.AdaptiveAvgPool2d(8)
    return torch.nn.Sequential(pool, torch.nn.Flatten(), torch.nn.Linear(3 * 64, num_classes))


def to_zero(labels, rate, num_classes, generator):
    chosen = torch.rand(len(labels), generator=generator) < rate
    return torch.where(chosen, torch.zeros_like(labels), labels)


@kdbench.hookimpl
def kdbench_register_tasks():
    return [Majority()]


@kdbench.hookimpl
def kdbench_register_datasets():
    return [kdbench.DatasetSpec("stripes", ("plain", "striped"), 32, load_stripes)]


@kdbench.hookimpl
def kdbench_register_models():
    return [kdbench.ModelSpec("tiny-net", tiny_net, "one linear layer")]


@kdbench.hookimpl
def kdbench_register_label_noises():
    return [kdbench.LabelNoiseSpec("to-zero", to_zero, "all to the first class")]


@kdbench.hookimpl
def kdbench_register_attacks():
    return [to_grey]


@kdbench.hookimpl
def kdbench_register_suites():
    return [Path(__file__).with_name("stripes-suite.toml")]


@kdbench.hookimpl
def kdbench_register_claims():
    share = kdbench.Measure("clean", "majority", "share")
    comparison = kdbench.Comparison(kdbench.MethodConfig("ce"), kdbench.MethodConfig("label-smoothing"), share, "lower")
    return [kdbench.Claim("stripes-claim", "A paper", "It is so.", [comparison], suite="stripes-suite")]


@kdbench.hookimpl
def kdbench_register_reproductions():
    return [Path(__file__).with_name("reproductions"), Path(__file__).parent / "alone" / "fig1.toml"]
"""

STRIPES_SUITE = """
name = "stripes-suite"
version = 1
title = "Stripes"
why = "A test."
dataset = "stripes"
student = "tiny-net"
[recipe]
epochs = 2
batch_size = 10
lr = 0.1
[conditions.clean]
[conditions.zeroed]
noise = { kind = "to-zero", rate = 0.5, seed = 0 }
[tasks.clean]
[tasks.majority]
"""


def test_a_task_a_dataset_a_model_a_noise_and_a_suite_are_added_the_same_way(install: Install, tmp_path: Path) -> None:
    install("everything", EVERYTHING)
    (tmp_path / "stripes-suite.toml").write_text(STRIPES_SUITE)
    (tmp_path / "reproductions" / "stripes").mkdir(parents=True)
    (tmp_path / "reproductions" / "stripes" / "table1.toml").write_text("")  # read when it is asked for
    record = run("stripes-suite", "ce", out=tmp_path / "runs", attacks=["to-grey share=0.5"])
    assert record.status == "finished"
    assert {(score.task, score.condition) for score in record.scores} == {
        ("clean", "clean"), ("majority", "clean"), ("majority", "zeroed"), ("attack", "clean"), ("attack", "zeroed"),
    }  # fmt: skip
    [attacked] = [score for score in record.select("attack", "robust_accuracy") if score.condition == "clean"]
    how = {"eps": 0.031, "share": 0.5, "restarts": 1, "seed": 0, "subset": 1000, "subset_seed": 0}
    assert attacked.setting == {"attack": "to-grey", **how}
    assert load_plugins().attacks.origin("to-grey") == "everything 1.0"
    assert record.hashes.label_noise["zeroed"].kind == "to-zero"
    assert 0.1 < record.hashes.label_noise["zeroed"].realised < 0.4
    assert record.select("clean", "accuracy")[0].n == 40
    assert load_plugins().claims.origin("stripes-claim") == "everything 1.0"
    assert load_plugins().claims.get("stripes-claim").suite == "stripes-suite"
    items = load_plugins().reproductions
    assert [name for name in items if items.origin(name) == "everything 1.0"] == ["alone/fig1", "stripes/table1"]
    assert items.get("stripes/table1") == tmp_path / "reproductions" / "stripes" / "table1.toml"


TRACKER = """
import kdbench

class Notes:
    def __init__(self, spec, folder):
        self.file = (folder.parents[2] / f"{spec.method}.txt").open("w")

    def epoch(self, step, numbers):
        print(step, *sorted(numbers), file=self.file)

    def record(self, record, path):
        print(*kdbench.trackers.score_names(record), sep="\\n", file=self.file)

    def close(self):
        print("closed", file=self.file)
        self.file.close()

@kdbench.hookimpl
def kdbench_register_trackers():
    return [kdbench.TrackerSpec("notes", Notes, "A text file.")]
"""


def test_a_tracker_of_a_third_party_needs_nothing_of_ours(install: Install, tiny_suite: Path, tmp_path: Path) -> None:
    install("notes", TRACKER)
    assert load_plugins().trackers.origin("notes") == "notes 1.0"
    (tmp_path / "runs").mkdir()
    run(str(tiny_suite), "ce", conditions=["clean"], tasks=["clean"], out=tmp_path / "runs", track=["notes"])
    lines = (tmp_path / "runs" / "ce.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "scores/clean/clean/accuracy", "closed"]
    assert "clean/loss" in lines[0].split()


def test_every_hook_is_implemented_by_a_test_or_by_kdbench() -> None:
    declared = {name for name in vars(hookspecs) if name.startswith("kdbench_")}
    text = Path(__file__).read_text() + Path(builtin.__file__).read_text()
    assert {name for name in declared if f"def {name}(" in text} == declared
