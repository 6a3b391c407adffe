"""Links to the files of records and to the source, where a repository has them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.leaderboard.ranking import rank
from kdbench.leaderboard.site import build
from kdbench.leaderboard.site.repository import Repository
from tests.leaderboard.evidence import make

URL = "https://example.org/someone/bench"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Records in a checkout: one is tracked with a network beside it, one is not."""
    folder = tmp_path / "checkout" / "my boards" / "records"
    made = make("ce")
    provenance = made.record.provenance.model_copy(update={"kdbench_commit": COMMIT})
    path = made.changed(provenance=provenance).publish(folder)
    path.with_name(f"{path.stem}.checkpoint-clean.safetensors").write_bytes(b"weights")
    subprocess.run(["git", "init", "--quiet", tmp_path / "checkout"], check=True)
    subprocess.run(["git", "-C", folder, "add", "."], check=True)
    make("kd").publish(folder)
    return folder


def links(page: Path) -> list[str]:
    return re.findall(r'href="(https://example[^"]+)"', page.read_text(encoding="utf-8"))


def test_a_method_page_links_what_the_repository_has(records: Path, tmp_path: Path) -> None:
    build(rank(records), tmp_path / "site", repository=Repository.of(f"{URL}.git/", records))
    methods = tmp_path / "site/digits/method"
    [record] = (records / "digits/ce").glob("*[0-9a-f].json")
    place = f"{URL}/blob/HEAD/my%20boards/records/digits/ce/{record.stem}"
    endings = ("json", "log.jsonl", "predictions.npz", "checkpoint-clean.safetensors")
    expected = {f"{URL}/tree/{COMMIT}", *(f"{place}.{ending}" for ending in endings)}
    assert expected == set(links(methods / "ce.html"))
    assert not [link for link in links(methods / "kd.html") if "/blob/" in link], "it is not in the repository"
    assert links(tmp_path / "site/index.html") == [URL]


def test_without_a_repository_there_are_names_and_no_links(records: Path, tmp_path: Path) -> None:
    build(rank(records), tmp_path / "site")
    page = (tmp_path / "site/digits/method/ce.html").read_text(encoding="utf-8")
    assert not links(tmp_path / "site/digits/method/ce.html")
    assert f"<code>{COMMIT}</code>" in page and "checkpoint-clean.safetensors</code>" in page


@pytest.mark.parametrize(
    "address",
    ["http://example.org/a/b", "https://example.org", "https://me:secret@example.org/a/b", "https://example.org/a?b=c",
     "https://example.org/a#b", "javascript:alert(1)", 'https://example.org/"><script>', "git@example.org:a/b", ""],
)  # fmt: skip
def test_only_an_https_address_of_a_repository_will_do(records: Path, address: str) -> None:
    with pytest.raises(KdbenchError, match="is no https address of a repository") as error:
        Repository.of(address, records)
    assert "secret" not in error.value.message


def test_records_outside_of_a_repository_have_no_place_in_one(tmp_path: Path) -> None:
    make("ce").publish(tmp_path)
    with pytest.raises(KdbenchError, match="is in no git repository"):
        Repository.of(URL, tmp_path)


@pytest.mark.parametrize("commit", [None, "", "main", COMMIT[:12], f"{COMMIT}/../..", COMMIT.upper()])
def test_what_is_no_commit_is_no_link(commit: str | None) -> None:
    assert Repository(URL).source(commit) is None
