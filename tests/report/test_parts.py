from __future__ import annotations

from kdbench.report.parts import Table, missing


def test_a_table_is_csv_without_formulas_and_without_nan() -> None:
    table = Table(("name", "value"), (("=cmd()", 0.25), ('a "b", c', float("nan")), ("-1", -1.0)))
    assert table.to_csv() == 'name,value\n\'=cmd(),0.25\n"a ""b"", c",\n\'-1,-1.0\n'
    assert table.to_text()[1] == ['a "b", c', ""]


def test_every_start_of_a_formula_is_quoted() -> None:
    starts = ("=1", "+1", "-1", "@x", "\tx")
    lines = Table(("x",), tuple((text,) for text in starts)).to_csv().splitlines()
    assert lines[1:] == [f"'{text}" for text in starts]


def test_numbers_are_whole_in_the_file_and_short_on_the_page() -> None:
    row = (1 / 3, 123456, True, None, float("inf"), "text")
    table = Table(tuple("abcdef"), (row,))
    assert table.to_csv().splitlines()[1] == "0.3333333333333333,123456,True,,,text"
    assert table.to_text() == [["0.3333", "123456", "True", "", "", "text"]]


def test_a_reason_is_given_once_in_the_order_it_came() -> None:
    found = missing("x", ["a", "b", "a"])
    assert (found.title, found.reasons) == ("x", ("a", "b"))
