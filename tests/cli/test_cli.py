from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from kdbench.files import file_sha256
from kdbench.models import create
from tests.cli.test_startup import imported
from tests.commands import kdbench, started_anew


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A suite file and the folder of a finished run of it."""
    from tests.conftest import TINY_SUITE

    folder = tmp_path_factory.mktemp("cli")
    suite = folder / "tiny.toml"
    suite.write_text(TINY_SUITE)
    words = ["run", "--method", "ce", "--suite", suite, "--out", folder / "runs", "--tasks", "clean,noisy_label"]
    done = started_anew(*words)
    assert done.returncode == 0, done.stderr
    return suite, Path(done.stdout.splitlines()[-1])


def test_help_needs_neither_torch_nor_plugins() -> None:
    done = kdbench("--help")
    assert done.returncode == 0
    for command in ("run", "evaluate", "list", "describe", "plugins", "data", "doctor"):
        assert f"  {command} " in done.stdout
    code = "import sys; sys.argv = ['kdbench', '--help']\nimport kdbench.cli\n"
    code += "try: kdbench.cli.main()\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'pluggy', 'numpy', 'pydantic'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize("group", [[], ["leaderboard"], ["data"]])
def test_what_a_command_does_fits_its_line(group: list[str]) -> None:
    listed = kdbench(*group, "--help", COLUMNS="80").stdout.partition("Commands:")[2]
    assert listed.strip()
    assert "..." not in listed


def test_a_usage_error_points_to_the_help_of_its_command() -> None:
    for arguments, command in ((["data", "fetch"], "kdbench data fetch"), (["run", "--methd", "x"], "kdbench run")):
        done = kdbench(*arguments)
        assert done.returncode == 2
        assert done.stderr.endswith(f"(`{command} --help` shows what there is)\n")


def test_run_prints_a_table_and_last_the_path_of_the_record(finished: tuple[Path, Path]) -> None:
    suite, path = finished
    assert json.loads(path.read_text())["status"] == "finished"
    again = kdbench("run", "--method", "ce", "--suite", suite, "--out", path.parents[3], "--tasks", "clean,noisy_label")
    assert "ce on tiny, seed 0" in again.stdout
    assert "noisy_label" in again.stdout
    assert again.stdout.splitlines()[-1] == str(path)


def test_a_finished_run_is_answered_without_torch_data_or_plugins(finished: tuple[Path, Path]) -> None:
    suite, path = finished
    common = ["run", "--method", "ce", "--suite", suite, "--out", path.parents[3], "--tasks", "clean,noisy_label"]
    found, quick = imported(*common)
    assert found == set()
    whole = kdbench(*common, KDBENCH_CACHE_DIR=str(path.parents[4] / "another-cache"))
    assert quick.stdout == whole.stdout, "tables and path are those of a run that loads everything"
    said = [line for line in whole.stderr.splitlines() if line not in quick.stderr.splitlines()]
    assert said == [
        f"note: torch, plugins and data were loaded to find that run {path.parent.name} is finished: it was not asked "
        "for in these words and this environment before"
    ]
    assert json.loads(imported(*common, "--json")[1].stdout) == json.loads(path.read_text())


def test_a_finished_run_that_is_asked_for_otherwise_is_another(finished: tuple[Path, Path], tmp_path: Path) -> None:
    suite, path = finished
    changed = tmp_path / "tiny.toml"
    changed.write_text(suite.read_text().replace("epochs = 3", "epochs = 1"))
    common = ["run", "--method", "ce", "--out", path.parents[3], "--tasks", "clean,noisy_label"]
    found, done = imported(*common, "--suite", changed)
    assert "torch" in found
    assert done.stdout.splitlines()[-1] != str(path)


def test_lists_and_misspelt_names_load_no_plugin(finished: tuple[Path, Path]) -> None:
    """The run of the fixture has kept what is installed."""
    for arguments, said in (
        (["list", "methods"], "nrd"),
        (["plugins", "--json"], "loaded"),
        (["describe", "method", "ndr"], "did you mean 'nrd'?"),
        (["run", "--method", "ndr"], "did you mean 'nrd'?"),
        (["run", "--method", "ce", "--suite", "digitz"], "did you mean 'digits'?"),
        (["run", "--method", "ce", "--tasks", "clena"], "did you mean 'clean'?"),
        (["run", "--method", "ce", "--attack", "pdg steps=3"], "did you mean 'pgd'?"),
        (["data", "fetch", "cifar1"], "did you mean 'cifar10'?"),
        (["sweep", "--method", "ndr"], "did you mean 'nrd'?"),
        (["reproduce", "--claims", "smkd-oder"], "did you mean 'smkd-order'?"),
    ):
        found, done = imported(*arguments)
        assert said in done.stdout + done.stderr
        assert found == set(), arguments


def test_json_is_the_record_and_nothing_else(finished: tuple[Path, Path]) -> None:
    suite, path = finished
    common = ["run", "--method", "ce", "--suite", suite, "--out", path.parents[3], "--tasks", "clean,noisy_label"]
    done = kdbench(*common, "--json")
    assert json.loads(done.stdout) == json.loads(path.read_text())


def test_several_seeds_give_several_records_and_a_summary(finished: tuple[Path, Path]) -> None:
    suite, path = finished
    common = ["run", "--method", "ce", "--suite", suite, "--out", path.parents[3], "--tasks", "clean"]
    done = kdbench(*common, "--condition", "clean", "--seed", "0", "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert "mean of 2 seeds" in done.stdout
    paths = done.stdout.splitlines()[-2:]
    assert [json.loads(Path(line).read_text())["spec"]["seed"] for line in paths] == [0, 1]


@pytest.mark.parametrize(("condition", "task"), [("clean", "clean"), ("sym-40", "noisy_label")])
def test_evaluate_measures_a_checkpoint_as_the_run_did(
    finished: tuple[Path, Path], condition: str, task: str, tmp_path: Path
) -> None:
    suite, path = finished
    checkpoint = path.parent / f"checkpoint-{condition}.safetensors"
    done = kdbench("evaluate", checkpoint, "--suite", suite, "--tasks", task, "--json", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    recorded = [score for score in json.loads(path.read_text())["scores"] if score["task"] == task]
    found = json.loads(done.stdout)
    assert found["scores"] == recorded
    kept = json.loads(Path(found["record"]).read_text())
    assert kept["scores"] == recorded
    assert kept["evaluated"]["source"] == checkpoint.name
    assert kept["evaluated"]["sha256"] == file_sha256(checkpoint)
    assert kept["run_id"] == found["run_id"]


def test_evaluate_of_a_part_is_verified_and_reported(finished: tuple[Path, Path], tmp_path: Path) -> None:
    suite, path = finished
    checkpoint, out = path.parent / "checkpoint-clean.safetensors", ["--out", str(tmp_path / "runs")]
    tasks = ["--tasks", "clean,calibration", "--examples", "100"]
    done = kdbench("evaluate", checkpoint, "--suite", suite, *tasks, *out)
    assert done.returncode == 0, done.stderr
    record = done.stdout.splitlines()[-1]
    assert "100 test images, evaluated, not trained here" in " ".join(done.stdout.split())
    checked = kdbench("leaderboard", "verify", record, "--checkpoint", checkpoint, *out)
    assert checked.returncode == 0, checked.stderr
    assert "2 same, 0 within interval, 0 not" in checked.stdout
    by_folder = kdbench("leaderboard", "verify", Path(record).parent, "--checkpoint", checkpoint, *out)
    assert by_folder.returncode == 0, by_folder.stderr
    valid = kdbench("leaderboard", "validate", record)
    assert "0 errors" in valid.stdout
    shown = kdbench("report", record, path, "--out", tmp_path / "report")
    assert shown.returncode == 0, shown.stderr
    assert "evaluated, not trained here" in (tmp_path / "report/report.html").read_text()


def test_evaluate_refuses_a_task_that_means_nothing_there(finished: tuple[Path, Path]) -> None:
    suite, path = finished
    checkpoint = path.parent / "checkpoint-clean.safetensors"
    done = kdbench("evaluate", checkpoint, "--suite", suite, "--tasks", "noisy_label")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "task 'noisy_label' does not apply to condition clean" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--method", "ndr"], "error: no method named 'ndr' (did you mean 'nrd'?"),
        (["run", "--method", "ce", "--suite", "digitz"], "no suite named 'digitz' (did you mean 'digits'?"),
        (["run", "--method", "ce", "--tasks", "clena"], "no task named 'clena' (did you mean 'clean'?"),
        (["run", "--method", "kd", "--set", "alfa=1"], "no parameter named 'alfa' (did you mean 'alpha'?"),
        (["run", "--method", "kd", "--set", "alpha=7"], "parameter alpha: input should be less than or equal to 1"),
        (["run", "--method", "kd", "--set", "alpha"], "--set got 'alpha' (write it as --set name=value)"),
        (
            ["run", "--method", "ce", "--set", "recipe.epoch=3"],
            "recipe.epoch: did you mean epochs",
        ),
        (["run", "--method", "ce", "--set", "recipe.epochs=0"], "epochs: input should be greater than or equal to 1"),
        (["run", "--method", "ce", "--set", "tasks.pgd.settings.stpes=[1]"], "named 'stpes' (did you mean 'steps'?)"),
        (["run", "--method", "ce", "--set", "tasks.pgd.settings.steps=0"], "task 'pgd', setting steps"),
        (["run", "--method", "ce", "--set", "conditions.sym40.recipe.lr=1"], "did you mean 'sym-40'?"),
        (["run", "--method", "ce", "--condition", "claen"], "no condition named 'claen' (did you mean 'clean'?"),
        (
            ["run", "--method", "ce", "--device", "tpu"],
            "no device named 'tpu' (one of: auto, cpu, cuda, cuda:N, mps, xpu;",
        ),
        (["run", "--method", "ce", "--data-dir", "/nowhere"], "data folder /nowhere is not a folder"),
        (["evaluate", "/nowhere.safetensors"], "no checkpoint at /nowhere.safetensors"),
        (["run", "--method", "ce", "--tasks", ""], "no task was named"),
        (["run", "--method", "ce", "--seed", "abc"], "seeds 'abc': found 'abc' (write them as 0-4 or 0,2,7)"),
        (["run"], "Missing option '--method'"),
        (["rum"], "No such command 'rum'"),
        (["list", "methodz"], "no kind named 'methodz' (did you mean 'methods'?"),
        (["describe", "method", "nrdd"], "no method named 'nrdd' (did you mean 'nrd'?"),
        (["data", "fetch", "cifar1"], "no dataset named 'cifar1' (did you mean 'cifar10'?"),
        (["data", "fetch", "digits"], "dataset 'digits' is not for download"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "runs")] if arguments[0] == "run" else []
    done = kdbench(*arguments, *out)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr
    assert not list(tmp_path.rglob("*.*"))


def test_bad_checkpoints_are_one_line(finished: tuple[Path, Path], tmp_path: Path) -> None:
    good = finished[1].parent / "checkpoint-clean.safetensors"
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(good.read_bytes()[:5000])
    assert "is damaged" in kdbench("evaluate", truncated).stderr
    plain = tmp_path / "plain.pt"
    torch.save(create("wrn-10-1", num_classes=10).state_dict(), plain)
    assert (
        "is a plain state dict (name its architecture with --model; they fit wrn-10-1)"
        in kdbench("evaluate", plain).stderr
    )
    out = ["--out", str(tmp_path / "runs")]
    other = kdbench("evaluate", plain, "--model", "wrn-16-1")
    assert (other.returncode, len(other.stderr.splitlines())) == (2, 1)
    assert "of another architecture" in other.stderr
    right = kdbench("evaluate", plain, "--model", "wrn-10-1", "--tasks", "clean", "--json", *out)
    assert json.loads(right.stdout)["scores"][0]["n"] == 500
    assert json.loads(right.stdout)["preprocessing"]["normalisation"] is None
    said = kdbench("evaluate", plain, "--model", "wrn-10-1", "--tasks", "clean", *out).stdout
    assert said.startswith("the model was given RGB in [0, 1], 32x32, not normalised")
    assert "[!] clean evaluate near_chance" in said, "an untrained network guesses"
    several = tmp_path / "several.pth.tar"
    state = create("wrn-10-1", num_classes=10).state_dict()
    torch.save({"model": state, "ema": {name: tensor + 1 for name, tensor in state.items()}}, several)
    assert (
        "(choose with --weights model or --weights ema)" in kdbench("evaluate", several, "--model", "wrn-10-1").stderr
    )
    chosen = kdbench(
        "evaluate", several, "--model", "wrn-10-1", "--weights", "model", "--tasks", "clean", "--json", *out
    )
    assert json.loads(chosen.stdout)["scores"] == json.loads(right.stdout)["scores"]
    assert "several.pth.tar: weights of model" in chosen.stderr
    evil = tmp_path / "evil.pt"
    torch.save({"x": subprocess.Popen}, evil)
    assert "reading it could run code" in kdbench("evaluate", evil).stderr


def test_an_unwritable_out_is_one_line(tiny_suite: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    done = kdbench("run", "--method", "ce", "--suite", tiny_suite, "--out", tmp_path / "file")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_run_that_turns_nan_is_reported_and_recorded(tiny_suite: Path, tmp_path: Path) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace("lr = 0.03", "lr = 1e30"))
    done = kdbench("run", "--method", "ce", "--suite", tiny_suite, "--tasks", "clean", "--out", tmp_path / "runs")
    assert done.returncode == 2
    assert "failed: condition clean: the training loss became" in done.stderr
    [path] = (tmp_path / "runs").rglob("record.json")
    assert json.loads(path.read_text())["status"] == "failed"


@pytest.mark.parametrize(("sent", "status", "how"), [(signal.SIGINT, 130, ""), (signal.SIGTERM, 143, " by SIGTERM")])
def test_an_interrupted_run_says_how_to_go_on(
    sent: signal.Signals, status: int, how: str, tiny_suite: Path, tmp_path: Path
) -> None:
    tiny_suite.write_text(tiny_suite.read_text().replace("epochs = 3", "epochs = 500"))
    command = [sys.executable, "-m", "kdbench", "run", "--method", "ce", "--suite", str(tiny_suite), "--tasks", "clean"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("resume.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == status
    note, *rest = stderr.splitlines()
    assert note.startswith("note: no recipe of method 'ce' is for family 'tiny', data set 'digits'")
    assert rest == [f"interrupted{how}: run the same command again to go on from the last whole epoch"]


@pytest.mark.parametrize("asked", [("list", "methods"), ("list", "methods", "--json"), ("--help",), ("doctor",)])
def test_a_reader_that_has_left_is_no_error(asked: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "kdbench", *asked], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_corrupt_cache_is_rebuilt_with_a_word(tmp_path: Path) -> None:
    data_dir = os.environ.get("KDBENCH_DATA_DIR")
    if not data_dir or not (Path(data_dir) / "ood_imagenet").is_dir():
        pytest.skip("needs the real image set ood_imagenet under KDBENCH_DATA_DIR")
    from kdbench.data import DataPlace
    from kdbench.plugin.loader import load_plugins

    place = DataPlace(Path(data_dir), tmp_path)
    spec = load_plugins().datasets.get("ood-imagenet")
    first = spec.load(place)
    [cached] = tmp_path.rglob("*.safetensors")
    shutil.copy(cached, tmp_path / "copy")
    cached.write_bytes(cached.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="cache"):
        second = spec.load(place)
    assert first.sha256 == second.sha256
    assert cached.stat().st_size == (tmp_path / "copy").stat().st_size
