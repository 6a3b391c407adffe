"""Links and lists of files that others left where something is written: nothing outside is touched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.leaderboard import Boards
from kdbench.leaderboard.publish import MANIFEST, publish
from kdbench.leaderboard.site import build
from kdbench.leaderboard.submit import submit
from tests.leaderboard.evidence import make
from tests.leaderboard.test_publish import git


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file of somebody else's, in a folder of its own."""
    file = tmp_path / "outside" / "thesis.tex"
    file.parent.mkdir()
    file.write_text("years of work")
    return file


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "methods").mkdir(parents=True)
    (folder / "index.html").write_text("first")
    (folder / "methods" / "ce.html").write_text("ce")
    return folder


@pytest.fixture
def target(site: Path, tmp_path: Path) -> Path:
    """A folder that was published to."""
    folder = tmp_path / "www"
    publish(site, str(folder))
    return folder


def untouched(outside: Path) -> bool:
    return outside.read_text() == "years of work" and [path.name for path in outside.parent.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["index.html", ".nojekyll"])
def test_a_link_in_the_place_of_a_file_is_replaced(site: Path, target: Path, outside: Path, name: str) -> None:
    (target / name).unlink()
    (target / name).symlink_to(outside)
    (site / "index.html").write_text("second")
    publish(site, str(target))
    assert untouched(outside)
    assert not (target / name).is_symlink()


def test_a_link_in_the_place_of_a_folder_is_refused_before_anything_is_written(
    site: Path, target: Path, outside: Path
) -> None:
    (target / "methods" / "ce.html").unlink()
    (target / "methods").rmdir()
    (target / "methods").symlink_to(outside.parent)
    (site / "index.html").write_text("second")
    with pytest.raises(KdbenchError, match="methods is a link to"):
        publish(site, str(target))
    assert untouched(outside)
    assert (target / "index.html").read_text() == "first"


def test_links_of_a_branch_lead_nowhere(site: Path, outside: Path, tmp_path: Path) -> None:
    remote, clone = tmp_path / "remote.git", tmp_path / "clone"
    remote.mkdir()
    git(remote, "init", "--quiet", "--bare", "--initial-branch=main")
    publish(site, f"git:{remote}#pages")
    git(tmp_path, "clone", "--quiet", "--branch", "pages", str(remote), str(clone))
    (clone / "index.html").unlink()
    (clone / "index.html").symlink_to(outside)
    git(clone, "commit", "--quiet", "--all", "-m", "a link")
    git(clone, "push", "--quiet", "origin", "pages")
    publish(site, f"git:{remote}#pages")
    assert untouched(outside)
    assert git(remote, "ls-tree", "pages", "index.html").startswith("100644 ")


@pytest.mark.parametrize("name", [".git/HEAD", ".GIT/config", "../outside/thesis.tex", "/etc/hostname", "a\\..\\b", 7])
def test_a_list_of_files_that_leads_elsewhere_is_refused(site: Path, target: Path, outside: Path, name: object) -> None:
    (target / ".git").mkdir()
    (target / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (target / MANIFEST).write_text(json.dumps({"files": [name]}))
    with pytest.raises(KdbenchError, match="is damaged"):
        publish(site, str(target))
    assert untouched(outside)
    assert (target / ".git" / "HEAD").exists()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[]", "null", '{"files": {"a": 1}}', '{"files": 3}', "\x00", '{"files']
)
def test_a_list_of_files_that_is_none_is_one_line(site: Path, target: Path, text: str) -> None:
    (target / MANIFEST).write_text(text)
    with pytest.raises(KdbenchError, match="is damaged"):
        publish(site, str(target))


def test_a_list_of_files_is_not_read_through_a_link(site: Path, target: Path, outside: Path) -> None:
    (target / MANIFEST).unlink()
    (target / MANIFEST).symlink_to(outside)
    with pytest.raises(KdbenchError, match="is damaged"):
        publish(site, str(target))
    assert untouched(outside)


def test_what_lies_behind_links_is_no_part_of_a_site(site: Path, outside: Path, tmp_path: Path) -> None:
    (site / "secret.html").symlink_to(outside)
    (site / "folder").symlink_to(outside.parent)
    publish(site, str(tmp_path / "elsewhere"))
    names = {path.relative_to(tmp_path / "elsewhere").as_posix() for path in (tmp_path / "elsewhere").rglob("*.*")}
    assert names == {"index.html", "methods/ce.html", ".nojekyll", MANIFEST}


Lay = Callable[[Path, Path], None]


@pytest.mark.parametrize("lay", [
    lambda folder, outside: (folder / "digits").symlink_to(outside.parent),
    lambda folder, outside: ((folder / "digits").mkdir(), (folder / "digits" / "ce").symlink_to(outside.parent)),
])  # fmt: skip
def test_submit_does_not_follow_links(lay: Lay, outside: Path, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    lay(folder, outside)
    with pytest.raises(KdbenchError, match="is a link to"):
        submit(make().keep(tmp_path / "runs"), folder)
    assert untouched(outside)


def test_submit_does_not_take_a_link_for_a_published_record(outside: Path, tmp_path: Path) -> None:
    run, folder = make().keep(tmp_path / "runs"), tmp_path / "records"
    record = submit(run, folder).record
    record.unlink()
    record.symlink_to(outside)
    with pytest.raises(KdbenchError, match="is a link or no file"):
        submit(run, folder)
    assert untouched(outside)


def test_a_build_does_not_follow_links(outside: Path, tmp_path: Path) -> None:
    out = tmp_path / "built"
    out.mkdir()
    (out / "index.html").symlink_to(outside)
    build(Boards((), ()), out)
    assert untouched(outside)
    (out / "pages.json").write_text(json.dumps(["digits/index.html"]))
    (out / "digits").symlink_to(outside.parent)
    (outside.parent / "index.html").write_text("theirs")
    with pytest.raises(KdbenchError, match="is a link to"):
        build(Boards((), ()), out)
    assert (outside.parent / "index.html").read_text() == "theirs"


@pytest.mark.parametrize("text", ["[" * 100_000, "7", "null", "{}", '[1, "../x", "index.html"]'])
def test_a_damaged_list_of_pages_removes_nothing(text: str, outside: Path, tmp_path: Path) -> None:
    out = tmp_path / "built"
    out.mkdir()
    (out / "pages.json").write_text(text)
    build(Boards((), ()), out)
    assert untouched(outside)
    assert os.path.exists(out / "index.html")
