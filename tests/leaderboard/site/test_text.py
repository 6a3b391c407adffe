"""Untrusted text, numbers and addresses."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from markupsafe import Markup

from kdbench.leaderboard.site import text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain é 中", "plain é 中"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\x00\x1b[31m", "⟨U+0000⟩⟨U+001B⟩[31m"),
        ("\ud800", "⟨U+D800⟩"),
        ("\u2028\u200f", "⟨U+2028⟩⟨U+200F⟩"),
    ],
)
def test_what_is_not_seen_is_spelt_out(given: str, shown: str) -> None:
    assert text.plain(given) == shown


def test_text_is_shortened_to_a_limit_with_an_ellipsis() -> None:
    assert text.shorten("abcde", 5) == "abcde"
    assert text.shorten("abcdef", 5) == "abcd…"
    assert len(text.shown("x" * 10_000)) == text.LONG


def test_templates_print_text_plain_and_markup_of_our_own_as_it_is() -> None:
    assert text.shown("\u202e<b>") == "⟨U+202E⟩<b>", "escaping is the template's"
    assert text.shown(Markup("<b>\u202e")) == "<b>\u202e"
    assert text.shown(3) == 3


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "JaVaScRiPt:alert(1)", " https://a.b", "data:text/html,x", "https://", "//a.b", "https://[",
     "https://u:p@a.b", "https://a.b/\u202e", 'https://a.b/"><script>', "https://a.b/\n", "file:///etc/passwd", "",
     "https://a.b/" + "x" * text.LONG],
)  # fmt: skip
def test_only_plain_web_addresses_become_links(address: str) -> None:
    assert text.web_address(address) is None


@pytest.mark.parametrize("address", ["https://arxiv.org/abs/1503.02531", "http://a.b:80/c?d=e#f"])
def test_a_web_address_stays(address: str) -> None:
    assert text.web_address(address) == address


@pytest.mark.parametrize(
    ("value", "unit", "digits", "shown"),
    [(0.81049, "fraction", 1, "81.0"), (0.8105, "fraction", 2, "81.05"), (1, "fraction", 1, "100.0"),
     (1234.5, "nats", 1, "1.23e+03"), (2.5, "nats", 2, "2.5")],
)  # fmt: skip
def test_fractions_are_in_percent_and_other_units_have_three_digits(
    value: float, unit: str, digits: int, shown: str
) -> None:
    assert text.number(value, unit, digits) == shown


def test_an_interval_is_its_ends() -> None:
    assert text.interval(0.1, 0.25) == "10.0 to 25.0"
    assert text.interval(0.1, 0.25, "nats") == "0.1 to 0.25"


def test_embedded_json_cannot_end_its_element() -> None:
    found = text.embedded({"<b>": ["</script><!--", "\u202e\ud800&", 1.5, None]})
    assert not set("<>&") & set(found)
    assert json.loads(found) == {"<b>": ["</script><!--", "⟨U+202E⟩⟨U+D800⟩&", 1.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        text.embedded([float("nan")])


def test_the_policy_names_the_very_styles_and_scripts() -> None:
    digest = base64.b64encode(hashlib.sha256(b"let a;").digest()).decode()
    policy = text.content_policy([], ["let a;"])
    assert f"script-src 'sha256-{digest}';" in policy
    assert "style-src 'none';" in policy
    assert policy.startswith("default-src 'none'; ")
