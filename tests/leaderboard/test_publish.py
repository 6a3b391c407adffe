"""Publishing to a folder and to a branch of a local bare repository."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.leaderboard import publish as module
from kdbench.leaderboard.publish import MANIFEST, publish


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "methods").mkdir(parents=True)
    (folder / "index.html").write_text("first")
    (folder / "methods" / "_ce.html").write_text("ce")
    return folder


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    folder = tmp_path / "remote.git"
    folder.mkdir()
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main")
    return folder


def files(remote: Path, branch: str = "pages") -> dict[str, str]:
    names = git(remote, "ls-tree", "-r", "--name-only", branch).splitlines()
    return {name: git(remote, "show", f"{branch}:{name}") for name in names}


def push(remote: Path, tmp_path: Path, name: str, text: str, branch: str = "pages") -> None:
    """Another publisher's commit."""
    clone = tmp_path / f"clone-{name}"
    git(tmp_path, "clone", "--quiet", str(remote), str(clone))
    if git(remote, "branch", "--list", branch):
        git(clone, "checkout", "--quiet", branch)
    else:
        git(clone, "checkout", "--quiet", "-b", branch)
    (clone / name).write_text(text)
    git(clone, "add", name)
    git(clone, "commit", "--quiet", "-m", f"Add {name}")
    git(clone, "push", "--quiet", "origin", branch)


def test_the_first_push_makes_the_branch(site: Path, remote: Path) -> None:
    done = publish(site, f"git:{remote}#pages", message="Leaderboard of today")
    found = files(remote)
    assert set(found) == {"index.html", "methods/_ce.html", ".nojekyll", MANIFEST}
    assert found["index.html"] == "first"
    assert done.changed
    assert done.files == 2
    assert git(remote, "rev-parse", "pages") == done.commit
    assert git(remote, "log", "--format=%s", "pages") == "Leaderboard of today"


def test_an_update_replaces_what_was_published_and_nothing_else(site: Path, remote: Path, tmp_path: Path) -> None:
    publish(site, f"git:{remote}#pages")
    push(remote, tmp_path, "CNAME", "leaderboard.example")
    (site / "index.html").write_text("second")
    (site / "methods" / "_ce.html").rename(site / "methods" / "kd.html")
    assert publish(site, f"git:{remote}#pages").changed
    found = files(remote)
    assert set(found) == {"index.html", "methods/kd.html", "CNAME", ".nojekyll", MANIFEST}
    assert found["index.html"] == "second"
    assert git(remote, "rev-list", "--count", "pages") == "3"


def test_a_branch_may_have_a_slash_in_its_name(site: Path, remote: Path) -> None:
    assert publish(site, f"git:{remote}#site/of/today").changed
    assert set(files(remote, "site/of/today")) == {"index.html", "methods/_ce.html", ".nojekyll", MANIFEST}


def test_nothing_to_do_makes_no_commit(site: Path, remote: Path) -> None:
    first = publish(site, f"git:{remote}#pages")
    again = publish(site, f"git:{remote}#pages")
    assert not again.changed
    assert again.commit == first.commit == git(remote, "rev-parse", "pages")


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> list[int]:
    """Run ``act`` after each fetch, before the push."""
    calls: list[int] = []
    real = module._replace

    def replace(source: Path, target: Path, what: str) -> bool:
        changed = real(source, target, what)
        calls.append(len(calls))
        act(calls[-1])
        return changed

    monkeypatch.setattr(module, "_replace", replace)
    return calls


def test_a_remote_that_moved_on_is_fetched_again(
    site: Path, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(site, f"git:{remote}#pages")
    (site / "index.html").write_text("second")
    calls = meanwhile(monkeypatch, lambda turn: push(remote, tmp_path, "CNAME", "x") if turn == 0 else None)
    assert publish(site, f"git:{remote}#pages").changed
    assert calls == [0, 1]
    assert files(remote)["index.html"] == "second"
    assert files(remote)["CNAME"] == "x", "no commit is lost"


def test_a_remote_that_always_moves_on_is_refused(
    site: Path, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(site, f"git:{remote}#pages")
    (site / "index.html").write_text("second")
    meanwhile(monkeypatch, lambda turn: push(remote, tmp_path, f"file{turn}", "x"))
    with pytest.raises(KdbenchError, match="moved on during each of 3 attempts"):
        publish(site, f"git:{remote}#pages")
    assert files(remote)["index.html"] == "first"


def test_a_branch_that_is_no_site_is_refused(site: Path, remote: Path, tmp_path: Path) -> None:
    push(remote, tmp_path, "main.py", "print()", branch="main")
    with pytest.raises(KdbenchError, match="branch 'main' holds files that are no published site"):
        publish(site, f"git:{remote}#main")
    assert set(files(remote, "main")) == {"main.py"}


def test_a_rule_of_the_server_is_reported_and_not_tried_again(
    site: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'pages are frozen' >&2\nexit 1\n")
    hook.chmod(0o755)
    calls = meanwhile(monkeypatch, lambda turn: None)
    with pytest.raises(KdbenchError, match="git push: .*(pages are frozen|pre-receive hook declined)") as caught:
        publish(site, f"git:{remote}#pages")
    assert "\n" not in str(caught.value)
    assert calls == [0]


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("git:{tmp}/nowhere.git#pages", "git ls-remote: fatal: "),
        ("git:https://localhost:9/x.git#pages", "git ls-remote: fatal: "),
        ("git:{remote}#a..b", "'a..b' is no name of a branch"),
        ("git:{remote}#-f", "'-f' is no name of a branch"),
        ("git:{remote}", "names no remote and branch"),
        ("git:#pages", "names no remote and branch"),
        ("git:--upload-pack=x#pages", "'--upload-pack=x' is no remote"),
        ("{tmp}/site", "lies in the site itself"),
        ("{tmp}/site/below", "lies in the site itself"),
    ],
)
def test_a_mistake_is_one_line(site: Path, remote: Path, tmp_path: Path, to: str, message: str) -> None:
    with pytest.raises(KdbenchError) as caught:
        publish(site, to.format(tmp=tmp_path, remote=remote))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert git(remote, "branch", "--list") == ""


def test_a_remote_of_the_checkout_is_known_by_its_name_and_the_checkout_stays(
    site: Path, remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    git(checkout, "init", "--quiet", "--initial-branch=main")
    git(checkout, "remote", "add", "origin", str(remote))
    (checkout / "mine.txt").write_text("unsaved work")
    monkeypatch.chdir(checkout)
    publish(site, "git:origin#pages")
    assert "index.html" in files(remote)
    assert git(checkout, "status", "--porcelain") == "?? mine.txt"
    assert git(checkout, "branch", "--list", "--all") == ""


def test_a_folder_is_replaced_where_it_was_published(site: Path, tmp_path: Path) -> None:
    target = tmp_path / "www"
    assert publish(site, str(target)).changed
    (target / "robots.txt").write_text("mine")
    (site / "methods" / "_ce.html").unlink()
    assert publish(site, str(target)).changed
    assert not publish(site, str(target)).changed
    assert {path.name for path in target.rglob("*") if path.is_file()} == {
        "index.html", "robots.txt", ".nojekyll", MANIFEST,
    }  # fmt: skip


def test_a_folder_of_other_things_is_refused(site: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years")
    with pytest.raises(KdbenchError, match="home holds files that are no published site"):
        publish(site, str(home))
    assert [path.name for path in home.iterdir()] == ["thesis.tex"]
    (home / MANIFEST).write_text("{}")
    with pytest.raises(KdbenchError, match="is damaged"):
        publish(site, str(home))
    (home / MANIFEST).write_text('{"files": ["../outside.txt"]}')
    (tmp_path / "outside.txt").write_text("stays")
    with pytest.raises(KdbenchError, match="is damaged"):
        publish(site, str(home))
    assert (tmp_path / "outside.txt").exists()
    with pytest.raises(KdbenchError, match="is a file"):
        publish(site, str(home / "thesis.tex"))


def test_without_a_site_there_is_nothing_to_publish(tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="no site in"):
        publish(tmp_path, str(tmp_path / "www"))
