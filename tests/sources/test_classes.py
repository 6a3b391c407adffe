from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdbench.data import DataFacts
from kdbench.errors import KdbenchError
from kdbench.sources.classes import class_names, class_order

PETS = DataFacts("pets", ("cat", "dog"), 32)


def test_names_come_from_a_list_a_text_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("dog\ncat\n\n")
    (tmp_path / "list.json").write_text(json.dumps(["dog", "cat"]))
    (tmp_path / "labels.json").write_text(json.dumps({"1": "cat", "0": "dog"}))
    for given in (["dog", "cat"], "dog, cat", *(str(path) for path in tmp_path.iterdir())):
        assert class_names(given) == ("dog", "cat")
    assert class_names(None) is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("one.txt", "cat", "expected a file or names with commas between"),
        ("a.json", "{", "can't be read"),
        ("b.json", "[1, 2]", "is no list of names"),
        ("c.json", '{"0": "a", "2": "b"}', "numbers of classes are not 0 to 1"),
        ("d.txt", b"\xff\xfe\xff", "can't be read"),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(KdbenchError, match=message):
        class_names(str(path))


@pytest.mark.parametrize("given", ["cat", "cat,,dog", [], "no-such-file"])
def test_too_few_names_are_refused(given: str | list[str]) -> None:
    with pytest.raises(KdbenchError, match="--classes got"):
        class_names(given)


def test_an_order_is_needed_only_where_it_is_another() -> None:
    assert class_order(("cat", "dog"), PETS) is None
    assert class_order(("dog", "cat"), PETS) == ("dog", "cat")
    assert class_order(("cow", "dog", "cat"), PETS) == ("cow", "dog", "cat")


def test_names_of_the_caller_must_have_every_class_and_those_of_a_model_may_be_others() -> None:
    with pytest.raises(KdbenchError, match="no class of the model named 'dog' .did you mean 'dogs'. 'pets' has it"):
        class_order(("cat", "dogs"), PETS)
    assert class_order(("felis", "canis"), PETS, strict=False) is None
    with pytest.raises(KdbenchError, match="no class of the model named 'cat'"):
        class_order(("felis", "canis", "bos"), PETS, strict=False)
