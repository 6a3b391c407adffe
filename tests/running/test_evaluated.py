"""An evaluation as a record: kept, read by everything that reads records, compared, and never taken for a run."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import kdbench
from kdbench.data import DataPlace, digits, stratified_subset
from kdbench.errors import KdbenchError
from kdbench.files import file_sha256
from kdbench.leaderboard import load, make_boards, read_evidence
from kdbench.leaderboard.submit import submit
from kdbench.leaderboard.validate import validate
from kdbench.leaderboard.verify import verify
from kdbench.report import write_report
from kdbench.results.comparison import NORMAL
from kdbench.results.evidence import Evidence
from kdbench.results.record import EvaluatedModel, Record, read_record
from kdbench.running.evaluated import Evaluation, describe_module
from kdbench.running.evaluation import evaluate
from kdbench.running.options import RunOptions
from tests.running.linear import Nearest

TASKS = ["clean", "calibration", "ood"]


@pytest.fixture(scope="module")
def good() -> Evaluation:
    return evaluate(Nearest(), tasks=TASKS)


@pytest.fixture(scope="module")
def worse() -> Evaluation:
    return evaluate(Nearest(0.3), tasks=TASKS)


@pytest.fixture(scope="module")
def part() -> Evaluation:
    return evaluate(Nearest(), tasks=[*TASKS, "pgd"], examples=60)


def test_what_is_kept_is_what_was_measured(good: Evaluation, tmp_path: Path) -> None:
    path = good.save(tmp_path)
    record = read_record(path)
    assert record.model_copy(update={"hashes": good.record.hashes}) == good.record
    assert record.evaluated == good.model
    assert path == tmp_path / "digits" / record.evaluated.label / record.run_id / "record.json"
    assert record.hashes.evidence == {"predictions.npz": file_sha256(path.with_name("predictions.npz"))}
    with np.load(path.with_name("predictions.npz")) as arrays:
        assert {f"clean/{name}" for name in good.correct} == set(arrays)
        assert arrays["clean/clean/correct"].mean() == good.scores[0].value
    assert good.save(tmp_path) == path, "the same is written over"
    assert json.dumps(good.to_dict())


def test_a_model_goes_by_its_weights_and_not_by_a_methods_name() -> None:
    first, again, other = (describe_module(net) for net in (Nearest(), Nearest(), Nearest(0.1)))
    assert first == again
    assert first.sha256 != other.sha256
    assert first.label != other.label
    assert first.source == "python:tests.running.linear.Nearest"
    plain = EvaluatedModel(source="ce", sha256=first.sha256)
    assert plain.label.startswith("ce-")
    for name in ("weights", "architecture"):
        assert plain.model_copy(update={name: "x"}).digest != plain.digest, name
    assert plain.model_copy(update={"preprocessing": {"resize": 32}}).digest != plain.digest
    assert plain.model_copy(update={"source": "elsewhere"}).digest == plain.digest, "the same, found elsewhere"
    assert EvaluatedModel(source="../../x y\n", sha256="").label.startswith("x-y-")
    assert EvaluatedModel(source="...", sha256="").label.startswith("model-")
    long = EvaluatedModel(source="python:transformers.models.resnet.modeling_resnet.ResNetForImages", sha256="")
    assert long.label.startswith("resnet.modeling_resnet.ResNetForImages-"), "cut at a dot"
    assert len(EvaluatedModel(source="x" * 500, sha256="").label) < 50


def test_scripted_modules_are_told_apart_by_their_constants() -> None:
    def frozen(net: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of its own scripts
            found: nn.Module = torch.jit.freeze(torch.jit.script(net.eval()))
        return found

    one, same, other = (describe_module(frozen(net)) for net in (Nearest(), Nearest(), Nearest(0.1)))
    assert not list(frozen(Nearest()).state_dict())
    assert one.sha256 == same.sha256 != other.sha256


def test_a_record_says_whether_it_is_of_a_run(good: Evaluation) -> None:
    values = good.record.model_dump(mode="json")

    def read(**changes: Any) -> Record:
        return Record.model_validate_json(json.dumps({**values, **changes}))

    assert read() == good.record
    with pytest.raises(ValueError, match="the evaluated model is"):
        read(evaluated={**values["evaluated"], "sha256": "0" * 64})
    with pytest.raises(ValueError, match="no recipe, student, view or fingerprint"):
        read(views={"clean": "crop"})


def test_every_reader_of_records_takes_it(good: Evaluation, worse: Evaluation, tmp_path: Path) -> None:
    paths = [found.save(tmp_path / "runs") for found in (good, worse)]
    assert {problem.field for path in paths for problem in validate(path)} <= {"provenance.kdbench_dirty"}
    report = write_report(paths, tmp_path / "report")
    text = report.page.read_text()
    assert "evaluated, not trained here" in text
    assert "kdbench.evaluate(model, &#39;digits&#39;" in text
    reasons = {part.title: " ".join(part.reasons) for part in report.missing}
    assert "was evaluated, not trained here: it has no training log" in reasons["Training and over-fitting"]
    frame = load(tmp_path / "runs")
    assert set(frame.evaluated) == {"python:tests.running.linear.Nearest"}
    assert list(frame.value) == [score.value for path in sorted(paths) for score in read_record(path).scores]
    board = rank(paths)
    assert [row.unranked for row in board.rows] == ["evaluated, not trained here"] * 2
    done = submit(paths[0], tmp_path / "published")
    assert {path.suffix for path in done.written} == {".json", ".npz"}
    assert "Evaluated, not trained here: python:" in done.body
    assert not [problem for problem in validate(done.record) if problem.severity == "error"]


def rank(paths: list[Path]) -> Any:
    [board] = make_boards([one for path in paths if isinstance(one := read_evidence(path), Evidence)]).boards
    return board


def test_a_frame_has_the_columns_of_a_leaderboards(good: Evaluation, tmp_path: Path) -> None:
    good.save(tmp_path)
    frame, kept = good.to_frame(), load(tmp_path)
    assert frame.equals(kept)
    assert frame.dtypes.equals(kept.dtypes)


def test_a_difference_is_that_of_the_examples(good: Evaluation, worse: Evaluation, tmp_path: Path) -> None:
    frame = good.compare(worse)
    assert list(frame.task) == [score.task for score in good.scores]
    assert frame.paired.all()
    row = frame[frame.task == "clean"].iloc[0]
    ours, theirs = (found.correct["clean/correct"].double().numpy() for found in (good, worse))
    apart = ours - theirs
    # Half a disagreement in each direction (Agresti & Min 2005), and the normal quantile for 500 examples.
    half = NORMAL * (apart.var(ddof=1) / len(apart) + 1 / len(apart) ** 2) ** 0.5
    assert row.difference == pytest.approx(apart.mean())
    assert row.value - row.other == pytest.approx(apart.mean())
    assert (row.ci_high - row.ci_low) / 2 == pytest.approx(half, rel=0.01)
    assert row.difference > 0
    assert worse.compare(good).difference.tolist() == pytest.approx((-frame.difference).tolist())
    kept = good.compare(worse.save(tmp_path))
    assert kept.equals(frame)
    assert good.compare(worse.save(tmp_path).parent).equals(frame)


def test_what_does_not_compare_is_refused(good: Evaluation, tiny_suite: Path, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="the other is of suite 'tiny', this one of 'digits'"):
        good.compare(evaluate(Nearest(), str(tiny_suite), tasks=["clean"]))
    with pytest.raises(KdbenchError, match="no score in common"):
        good.compare(evaluate(Nearest(), tasks=["corruption"], examples=10))
    with pytest.raises(KdbenchError, match="is a folder without a record.json"):
        good.compare(tmp_path)
    hashes = {**good.record.spec.datasets, "digits": "0" * 64}
    spec = good.record.spec.model_copy(update={"datasets": hashes})
    other = Evaluation(good.record.model_copy(update={"spec": spec}), good.correct)
    with pytest.raises(KdbenchError, match="measured on other images of 'digits'"):
        good.compare(other)


def test_a_part_is_fixed_stratified_and_agrees_with_the_whole(good: Evaluation, part: Evaluation) -> None:
    data = digits.load(DataPlace.default()).test
    rows = part.correct["clean/index"]
    assert torch.equal(rows, stratified_subset(data.labels, 60, 0))
    assert torch.bincount(data.labels[rows]).tolist() == [6] * 10
    assert torch.equal(part.correct["clean/correct"], good.correct["clean/correct"][rows])
    assert torch.equal(part.correct["calibration/confidence"], good.correct["calibration/confidence"][rows])
    away = part.correct["ood/index"]
    assert torch.equal(part.correct["ood/digits-fonts/correct"], good.correct["ood/digits-fonts/correct"][away])
    assert {score.n for score in part.scores if score.metric == "accuracy"} == {60}
    inside = part.correct["pgd/index"]
    assert set(inside.tolist()) <= set(rows.tolist())
    assert part.record.spec.examples == 60
    assert part.record.spec.datasets == good.record.spec.datasets
    assert part.record.run_id != good.record.run_id


def test_a_part_is_valid_pairs_with_its_like_and_is_on_no_board(
    good: Evaluation, part: Evaluation, tmp_path: Path
) -> None:
    path = part.save(tmp_path / "runs")
    assert not [problem for problem in validate(path) if problem.severity == "error"]
    other = evaluate(Nearest(0.3), tasks=TASKS, examples=60)
    assert part.compare(other).paired.all()
    assert not part.compare(good).paired.any()
    boards = make_boards([one for one in [read_evidence(path)] if isinstance(one, Evidence)])
    assert boards.boards == ()
    assert [one.reason for one in boards.excluded] == ["measured on 60 of the test images alone"]
    assert set(load(tmp_path / "runs").excluded) == {"measured on 60 of the test images alone"}


def test_the_unattacked_answers_of_a_part_judge_its_attacks(part: Evaluation, tmp_path: Path) -> None:
    """An attack that makes the model better is impossible, on a part of the images as well."""
    better = {name: torch.ones_like(one) if "pgd-" in name else one for name, one in part.correct.items()}
    scores = [
        score.model_copy(update={"value": 1.0, "ci_low": 0.94, "ci_high": 1.0}) if score.task == "pgd" else score
        for score in part.record.scores
    ]
    path = Evaluation(part.record.model_copy(update={"scores": scores}), better).save(tmp_path)
    assert any("an attack does not make a network better" in problem.message for problem in validate(path))


@pytest.mark.parametrize(("examples", "expected"), [(5, "500 test images of 10 classes"), (501, "say 10 to 500")])
def test_a_part_that_is_none_is_refused(examples: int, expected: str) -> None:
    with pytest.raises(KdbenchError, match=expected):
        evaluate(Nearest(), tasks=["clean"], examples=examples)


def test_all_images_are_no_part() -> None:
    assert evaluate(Nearest(), tasks=["clean"], examples=500).record.spec.examples is None


def test_a_plain_state_dict_is_verified_by_its_file_and_a_module_is_not(good: Evaluation, tmp_path: Path) -> None:
    file = tmp_path / "net.pt"
    torch.manual_seed(0)
    network = kdbench.models.create("wrn-10-1", num_classes=10)
    torch.save(network.state_dict(), file)
    origin = EvaluatedModel(source="net.pt", sha256=file_sha256(file), architecture="wrn-10-1")
    found = evaluate(network, tasks=["clean", "ood"], examples=20, origin=origin)
    path, options = found.save(tmp_path / "runs"), RunOptions.make(out=tmp_path / "runs", device="cpu")
    again = verify(path, file, options=options)
    assert {agreement.verdict for agreement in again.agreements} == {"same"}
    assert len(again.agreements) == 2
    sampled = verify(path, file, tasks=["clean"], examples=10, sample_seed=1, options=options)
    assert [(one.verdict, one.n) for one in sampled.agreements] == [("same", 10), ("unchecked", 0)]
    torch.save({**network.state_dict(), "x": torch.zeros(1)}, file)
    with pytest.raises(KdbenchError, match="is not the record's"):
        verify(path, file, options=options)
    with pytest.raises(KdbenchError, match="of a module that was given from Python"):
        verify(good.save(tmp_path / "runs"), file, options=options)


def test_gradients_and_weights_are_left_alone(part: Evaluation) -> None:
    before: list[Tensor] = [tensor.clone() for tensor in Nearest().state_dict().values()]
    net = Nearest()
    evaluate(net, tasks=["pgd"], examples=10)
    assert all(torch.equal(*pair) for pair in zip(before, net.state_dict().values(), strict=True))
