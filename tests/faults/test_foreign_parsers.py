"""Parsers of what others wrote, on whatever Hypothesis thinks of: a value, or one line that says what is wrong."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kdbench.bounds import DEPTH
from kdbench.checkpoints import read_weights
from kdbench.errors import KdbenchError
from kdbench.results import untrusted
from kdbench.results.evidence import Evidence
from kdbench.results.record import Record
from kdbench.results.store import read_evidence
from kdbench.results.untrusted import Unreadable
from kdbench.running.loading import lineage_of
from kdbench.specs import RunSpec, Suite, Training, first_problem
from kdbench.suites import load_suite
from kdbench.suites.reading import read_suite, suite_of
from kdbench.toml_files import read_toml
from kdbench.training.checkpoint import load_checkpoint
from kdbench.training.log import LogError, parse_log
from tests.leaderboard.evidence import make

few = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

numbers = st.integers() | st.floats() | st.sampled_from([2**53 + 1, 2**64 + 1, 10**400, -1, 0, 10**6])
words = st.text(max_size=20) | st.sampled_from(["x" * 30_000, "../../etc", "\x1b[2J", "\0", "\u202e", "0" * 64])
scalars = st.none() | st.booleans() | numbers | words
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4))
tables = st.dictionaries(words, values, max_size=5)


def one_line(read: Callable[[], object]) -> object:
    """What was read, or None after an error of ours that is one short printable line."""
    try:
        return read()
    except (KdbenchError, Unreadable) as error:
        assert "\n" not in str(error)
        assert str(error).isprintable(), ascii(str(error))
        assert len(str(error)) < 5000
        return None


@st.composite
def changed(draw: st.DrawFn, whole: dict[str, Any]) -> dict[str, Any]:
    """A valid value of JSON with one place in it replaced, removed or added."""
    found = json.loads(json.dumps(whole))
    around: Any = found
    while True:
        key = draw(st.sampled_from(sorted(around) if isinstance(around, dict) else range(len(around))))
        inner = around[key]
        if not isinstance(inner, dict | list) or not inner or draw(st.integers(0, 3)) == 0:
            break
        around = inner
    what = draw(st.integers(0, 3))
    if what == 0:
        del around[key]
    elif what == 1 and isinstance(around, dict):
        around[draw(words)] = draw(values)
    else:
        around[key] = draw(values)
    return found


@few
@given(st.text() | values.map(lambda value: json.dumps(value)) | st.integers(1, 10_000).map(lambda n: "[" * n))
def test_json_is_a_value_or_unreadable(text: str) -> None:
    found = one_line(lambda: untrusted.parse(text))
    if found is not None:
        assert json.loads(text) == found
        untrusted.lines(text)


@pytest.mark.parametrize("depth", [DEPTH, DEPTH + 1])
def test_the_bound_of_depth_is_where_it_says(depth: int) -> None:
    text = "[" * depth + "1" + "]" * depth
    if depth <= DEPTH:
        assert untrusted.parse(text) is not None
    else:
        with pytest.raises(Unreadable, match=f"nested more than {DEPTH} deep"):
            untrusted.parse(text)


RECORD = json.loads(make(tasks=["clean", "calibration"]).record.to_json())
SUITE = load_suite("digits").model_dump(mode="json")
RUN = json.loads(make(tasks=["clean"]).record.spec.model_dump_json())


@few
@given(changed(RECORD))
def test_a_record_is_read_or_excluded_with_a_reason(tmp_path_factory: pytest.TempPathFactory, values: Any) -> None:
    path = tmp_path_factory.mktemp("record") / "record.json"
    path.write_text(json.dumps(values), encoding="utf-8", errors="surrogatepass")
    found = read_evidence(path)
    if isinstance(found, Evidence):
        assert Record.model_validate_json(found.record.to_json()) == found.record
    else:
        assert found.reason.isprintable() and len(found.reason) < 1000


@few
@given(changed(SUITE) | tables)
def test_a_suite_is_one_or_a_line_says_why_not(values: Any) -> None:
    found = one_line(lambda: suite_of(values, "suite file x.toml"))
    if found is not None:
        assert isinstance(found, Suite)
        assert Suite.model_validate_json(found.model_dump_json()).digest() == found.digest()


@few
@given(st.binary(max_size=200) | st.text(alphabet=string.printable).map(str.encode))
def test_a_toml_file_is_a_table_or_a_line_says_why_not(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("toml") / "x.toml"
    path.write_bytes(content)
    one_line(lambda: read_toml(path, "file"))
    one_line(lambda: read_suite(path))


BIG: dict[str, str] = {
    "a key of 100,000 parts": ".".join(["a"] * 100_000) + " = 1",
    "such a key in a line": "x = {" + ".".join(["a"] * 100_000) + " = 1}",
    "such a table": "[" + ".".join(["a"] * 100_000) + "]",
    "lists in lists": "a = " + "[" * 100_000,
    "tables in tables": "a = " + "{a=" * 50_000,
    "a million keys": "".join(f"k{number} = 1\n" for number in range(200_000)),
    "many keys": "".join(f"k{number}=1\n" for number in range(50_000)),
    "a long word": "a" * 1_000_000,
    "a long number": "version = " + "9" * 5000,
    "a long name": 'name = "' + "x" * 500_000 + '"',
    "nothing": "",
    "null": "\0",
    "a number for a table": "conditions = 3\nrecipe = 3",
    "a number for a condition": "[conditions]\nclean = 3",
    "a number for a recipe": "[conditions.clean]\nrecipe = 3",
}


@pytest.mark.parametrize("text", BIG.values(), ids=BIG.keys())
def test_a_suite_too_large_to_be_meant_is_one_short_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(KdbenchError) as caught:
        read_suite(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 5000


@few
@given(changed(RUN))
def test_a_specification_is_refused_or_has_one_digest(values: Any) -> None:
    try:
        found = RunSpec.model_validate(values)
    except ValidationError as error:
        assert "\n" not in first_problem(error) and len(first_problem(error)) < 2000
    else:
        assert RunSpec.model_validate_json(found.model_dump_json()).run_id == found.run_id


TRAINING = Training(
    suite="digits", dataset="digits", dataset_sha256="0" * 64, train_size=None, subset_seed=0, noise=None,
    labels_sha256="0" * 64, model="wrn-10-1", model_source="0" * 64, mean=None, std=None, flip=False,
    recipe=load_suite("digits").condition("clean").recipe, method="ce", method_source="0" * 64, params={}, seed=0,
    device="cpu", needs={},
).model_dump(mode="json")  # fmt: skip
METADATA = {
    "version": 2, "predictor": "student", "num_classes": 10, "train_size": 100, "mean": [0.5, 0.5, 0.5],
    "training": TRAINING, "needs": {"teacher": {"training": TRAINING, "needs": {}}},
}  # fmt: skip


@few
@given(changed(METADATA) | tables)
def test_what_a_checkpoint_says_of_itself_is_a_lineage_or_a_line(values: Any) -> None:
    one_line(lambda: lineage_of(Path("x.safetensors"), values))


@pytest.mark.parametrize("text", [
    "[1, 2]", "7", "null", '"x"', "{", "[" * 100_000, '{"num_classes": 1e999}', '{"a": 1, "a": 2}',
    json.dumps({**METADATA, "num_classes": 10**9}), json.dumps({**METADATA, "version": "two"}),
    json.dumps({**METADATA, "mean": 3}), json.dumps({**METADATA, "needs": 3}), json.dumps({**METADATA, "training": []}),
    json.dumps({**METADATA, "predictor": ["student"]}), json.dumps({**METADATA, "needs": {"teacher": "none"}}),
])  # fmt: skip
def test_a_checkpoint_with_forged_metadata_is_one_line(tmp_path: Path, text: str) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "x.safetensors"
    save_file({"student.w": torch.zeros(2, 2)}, path, {"kdbench": text})
    with pytest.raises(KdbenchError) as caught:
        lineage_of(path, load_checkpoint(path)[1])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 5000


@few
@given(st.binary(max_size=300), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x10\0\0\0\0\0\0\0{", b"{"]))
def test_a_checkpoint_of_any_bytes_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, start: bytes
) -> None:
    path = tmp_path_factory.mktemp("checkpoint") / "x.pt"
    path.write_bytes(start + content)
    assert one_line(lambda: read_weights(path)) is None


def test_a_flipped_byte_of_a_checkpoint_is_one_line_or_other_weights(tmp_path: Path) -> None:
    whole = tmp_path / "whole.pt"
    torch.save({"conv.weight": torch.ones(4, 4), "epoch": 3}, whole)
    content = whole.read_bytes()
    for place in range(0, len(content), 7):
        path = tmp_path / "x.pt"
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        one_line(lambda path=path: read_weights(path))  # type: ignore[misc]  # bound at once


def test_lists_that_hold_each_other_have_an_end(tmp_path: Path) -> None:
    laughs: Any = [torch.ones(2, 2)]
    for _ in range(8):
        laughs = [laughs] * 1000
    itself: dict[str, Any] = {"w": torch.ones(2, 2)}
    itself["again"] = [itself, itself]
    for name, content in (("laughs", {"model": laughs}), ("itself", itself)):
        path = tmp_path / f"{name}.pt"
        torch.save(content, path)
        one_line(lambda path=path: read_weights(path))  # type: ignore[misc]  # bound at once


@few
@given(st.text() | st.lists(tables, max_size=3).map(lambda rows: "\n".join(json.dumps(row) for row in rows)))
def test_a_log_is_entries_or_says_which_line_is_none(text: str) -> None:
    try:
        assert all(isinstance(entry, dict) for entry in parse_log(text))
    except LogError as error:
        assert error.line >= 1
