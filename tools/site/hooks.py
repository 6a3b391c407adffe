"""Pages of the site that are not in docs/: README and its neighbours, the commands, and what Python code calls.

mkdocs calls the ``on_`` functions. Links are written for GitHub, where files lie as in the checkout; here they are
turned into those between pages, and one that leads elsewhere is left for mkdocs to refuse.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]

NOTEBOOKS = {
    path.relative_to(ROOT).as_posix(): f"notebook_{path.stem}.md"
    for path in sorted(ROOT.glob("examples/notebooks/*.ipynb"))
}
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"} | NOTEBOOKS
"""File of the root to its page."""
LINK = re.compile(r"\]\((?!\w+:|#)([^)#]+)")
FOREIGN = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\ssrc=\"?https?:|<link\b[^>]*\shref=\"?https?:")


def on_config(config: Any) -> None:
    """Find kdbench in this checkout: what is installed may be another."""
    sys.path.insert(0, str(ROOT))


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that have another source."""
    texts = {page: (ROOT / name).read_text() for name, page in PAGES.items()}
    made = {page: rooted(notebook(text) if page in NOTEBOOKS.values() else text) for page, text in texts.items()}
    made["commands.md"] = commands()
    made |= api()
    made["site.css"] = Path(__file__).with_name("site.css").read_text()
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """In a page of docs/, links to the root's files lead to their pages."""
    return LINK.sub(lambda found: "](" + PAGES.get(found[1].removeprefix("../"), found[1]), markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """No page may load anything from another server."""
    if found := FOREIGN.search(output):
        raise PluginError(f"{page.file.src_uri} asks another server: {found[0]}")
    return output


def rooted(text: str) -> str:
    """Text of a file of the root, with links as from docs/."""
    return LINK.sub(lambda found: "](" + found[1].removeprefix("docs/"), text)


def notebook(text: str) -> str:
    """A notebook's cells as a page: its words, and its code, which the tests execute."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n\n".join(source if kind == "markdown" else f"```python\n{source}\n```" for kind, source in cells)


def commands() -> str:
    """Every command with its arguments and options, as its --help has them."""
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from kdbench.cli import load_commands
    from kdbench.cli.app import app

    load_commands()
    command = get_command(app)
    context: Any = command.context_class(command, info_name="kdbench")  # typer's own type is another
    text = get_docs_for_click(obj=command, ctx=context, name="kdbench", title="Commands")
    return re.sub(
        r"^\*\*Commands\*\*:\n\n(?:\* .*\n)+", "", text, flags=re.M
    )  # the page's own table of contents has them


def api() -> dict[str, str]:
    """A page for the names of ``kdbench`` itself, and one for each of its public modules."""
    import kdbench

    names = [name for name in kdbench.__all__ if name not in kdbench._MODULES]
    pages = {"kdbench": "\n\n".join(["# kdbench", *(f"::: kdbench.{name}" for name in sorted(names, key=str.lower))])}
    for module in kdbench._MODULES:
        options = "    options:\n      show_root_heading: false\n"
        pages[f"kdbench.{module}"] = f"# kdbench.{module}\n\n::: kdbench.{module}\n{options}"
    return {f"api/{name}.md": text for name, text in pages.items()}
