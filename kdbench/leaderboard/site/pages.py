"""Which pages there are, what each is allowed to do, and writing them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kdbench.errors import KdbenchError
from kdbench.files import WriteError, write_atomically
from kdbench.inside import inside, is_own_file
from kdbench.leaderboard.board import Board, Boards
from kdbench.leaderboard.site import text
from kdbench.leaderboard.site.citing import cited
from kdbench.leaderboard.site.comparing import comparison_data, pairs_data
from kdbench.leaderboard.site.downloads import NAME, downloads
from kdbench.leaderboard.site.method import board_axes, method_view
from kdbench.leaderboard.site.repository import Repository
from kdbench.leaderboard.site.start import start_view
from kdbench.leaderboard.site.table import board_view, label_style, said_data, table_data
from kdbench.leaderboard.site.weighing import weights_data
from kdbench.results.wording import words

SCRIPTS: Final = {
    "table": (
        "page.js",
        "state.js",
        "draw.js",
        "pairs.js",
        "table.js",
        "fold.js",
        "weights.js",
        "against.js",
        "labels.js",
        "scales.js",
        "readout.js",
        "parallel.js",
        "scatter.js",
        "dots.js",
        "bars.js",
        "download.js",
        "start.js",
    ),
    "compare": ("page.js", "state.js", "draw.js", "pairs.js", "compare.js"),
    "method": ("page.js", "draw.js", "download.js"),
}
"""Kind of page to its scripts, in order. They are inline: a browser gives files of a folder no common origin."""
STYLES: Final = {"table": ("table.css",)}
"""Kind of page to what it has beside the style sheet of all."""
KEY: Final = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
"""What a key must look like to be a file's name."""
MANIFEST: Final = "pages.json"
"""Lists what a build wrote, so that the next one can take away the page of a method that is gone."""


def build(boards: Boards, out: Path, docs: str = "", repository: Repository | None = None) -> list[Path]:
    """Write the site of all boards into ``out``; returns its files. Raises ``KdbenchError`` when it cannot.

    ``index.html`` shows the first suite; each suite has ``<board>/index.html``, ``<board>/compare.html``,
    ``<board>/method/<row>.html`` and its scores as ``<board>/scores.csv``, with pyarrow as Parquet too. Files that an
    earlier build wrote and this one does not are removed; others in ``out`` are left alone. The same boards give the
    same bytes. ``docs`` is where each page links to as the documentation: a web address, or a file below ``out``, which
    need not be there yet; "" for no link.
    With a ``repository`` pages link to the files of records and to the source that measured them.
    """
    if docs and not _web_or_within(docs):
        raise KdbenchError(
            f"{docs!r} is no place of documentation", "give a web address, or a path in the site: docs/index.html"
        )
    names = []
    try:
        earlier = _earlier(out)
        for name, content in site_files(boards, docs, repository):
            names.append(name)
            write_atomically(inside(out, name), content)
        for name in sorted(earlier - set(names)):
            inside(out, name).unlink(missing_ok=True)
        names.append(MANIFEST)
        write_atomically(out / MANIFEST, (json.dumps(sorted(names), indent=1) + "\n").encode())
    except (OSError, WriteError) as error:
        said = error.message if isinstance(error, WriteError) else error
        raise KdbenchError(f"cannot write the site to {out}: {said}", "give a folder that can be written") from None
    return [out / name for name in names]


def _web_or_within(address: str) -> bool:
    """Whether it is a web address or a path that stays within the site."""
    within = re.fullmatch(r"[A-Za-z0-9._/-]+", address) and not {"", ".", ".."} & set(address.split("/"))
    return bool(within) or text.web_address(address) is not None


def site_files(boards: Boards, docs: str = "", repository: Repository | None = None) -> Iterator[tuple[str, bytes]]:
    """Path within the site and content of all its files."""
    for name, content in pages(boards, docs, repository):
        yield name, content.encode()
    for board in boards.boards:
        for name, data in downloads(board).items():
            yield f"{board.key}/{name}", data


def pages(boards: Boards, docs: str = "", repository: Repository | None = None) -> Iterator[tuple[str, str]]:
    """Path within the site and HTML, page by page, so that a large site need not fit into memory."""
    for board in boards.boards:
        for key in (board.key, *(row.key for row in board.rows)):
            if not re.fullmatch(KEY, key):
                raise ValueError(f"key {key!r} is no file name")
    site = _Site(boards, _environment(), docs)
    if not boards.boards:
        yield "index.html", site.page("empty", "", None, title="Nothing to rank", excluded=boards.excluded)
    for number, board in enumerate(boards.boards):
        view = {**board_view(board), **start_view(board)}
        if repository is not None:
            view["code"] = repository.address
        table, pairs = table_data(board), pairs_data(board)
        data = {**table, **pairs, **weights_data(board), **said_data(board)}
        if number == 0:
            yield "index.html", site.table("", board, view, data, f"{board.key}/")
        yield f"{board.key}/index.html", site.table("../", board, view, data, "")
        title = f"Comparison on {text.shorten(board.suite)}"
        compared = comparison_data(board, table, pairs)
        yield f"{board.key}/compare.html", site.page("compare", "../", board, title=title, data=compared)
        axes = board_axes(board)
        for row in board.rows:
            title = f"{text.shorten(row.title)} on {text.shorten(board.suite)}"
            view = method_view(board, row, axes, repository)
            html = site.page("method", "../../", board, title=title, row=row, view=view)
            yield f"{board.key}/method/{row.key}.html", html


def _earlier(out: Path) -> set[str]:
    """Pages of an earlier build; only names that a build can have written, whatever the manifest says."""
    try:
        listed = json.loads((out / MANIFEST).read_text(encoding="utf-8")) if is_own_file(out / MANIFEST) else []
    except (OSError, ValueError, RecursionError):
        return set()
    if not isinstance(listed, list):
        return set()
    ours = re.compile(rf"index\.html|{KEY}/(index|compare|method/{KEY})\.html|{KEY}/{NAME}\.(csv|parquet)")
    return {name for name in listed if isinstance(name, str) and ours.fullmatch(name)}


class _Site:
    """Renders pages of one set of boards."""

    def __init__(self, boards: Boards, environment: Environment, docs: str) -> None:
        self.boards = boards
        self.environment = environment
        self.docs = docs

    def table(self, root: str, board: Board, view: Mapping[str, Any], data: Any, here: str) -> str:
        """A suite's page; ``here`` leads to the suite's folder."""
        title = f"{text.shorten(board.suite)} leaderboard"
        return self.page(
            "table", root, board, label_style(view), title=title, view=view, data=data, here=here,
            stray=self.boards.excluded,
        )  # fmt: skip

    def page(self, kind: str, root: str, board: Board | None, own_style: str = "", **values: Any) -> str:
        """A page of one kind; ``root`` leads to the site's folder."""
        scripts = [_static(name) for name in SCRIPTS.get(kind, ())]
        docs = self.docs if text.web_address(self.docs) else f"{root}{self.docs}"
        style = "".join(map(_static, ("style.css", *STYLES.get(kind, ())))) + own_style
        return self.environment.get_template(f"{kind}.html.j2").render(
            root=root, docs=docs if self.docs else "", board=board, boards=self.boards.boards, style=Markup(style),
            scripts=[Markup(script) for script in scripts], policy=text.content_policy([style], scripts), **values,
        )  # fmt: skip


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("kdbench.leaderboard.site"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=text.shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "address": text.web_address, "cited": cited, "embedded": text.embedded, "number": text.number,
        "interval": text.interval, "shorten": text.shorten, "words": words,
    }  # fmt: skip
    return environment


@functools.cache
def _static(name: str) -> str:
    """A script or a style sheet, without indentation and lines that are comments."""
    whole = (files("kdbench.leaderboard.site") / "static" / name).read_text(encoding="utf-8")
    return re.sub(r"^[ \t]*(/\*(?:(?!\*/)[\s\S])*\*/|//.*)?[ \t]*\n|^[ \t]+", "", whole, flags=re.MULTILINE)
