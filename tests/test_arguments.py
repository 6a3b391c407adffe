"""Public functions that are given something of another kind say so in one line."""

from __future__ import annotations

from typing import Any

import pytest

import kdbench
from kdbench.report.write import write_report


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        (kdbench.read_record, 3, "read_record got a int, expected a path"),
        (kdbench.load_predictor, None, "load_predictor got a NoneType, expected a path"),
        (kdbench.open_model, None, "open_model got a NoneType, expected a file or NAME:WHAT"),
        (write_report, None, "write_report got a NoneType, expected a list of paths"),
        (write_report, "runs", "write_report got a str, expected a list of paths"),
        (write_report, [3], "write_report got a int, expected a path"),
    ],
)
def test_an_argument_of_another_kind_is_told(function: Any, given: object, message: str) -> None:
    with pytest.raises(kdbench.KdbenchError, match=f"^{message}"):
        function(given)
