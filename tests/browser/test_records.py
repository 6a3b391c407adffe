"""From hostile files to pages: records with hostile text, ranked, built and opened in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.leaderboard import rank
from kdbench.leaderboard.site import build
from tests.browser.boards import HOSTILE
from tests.browser.test_everyone import unfold, untouched
from tests.leaderboard.evidence import make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.conftest import Opener


def test_hostile_records_become_plain_pages(open_page: Opener, tmp_path: Path) -> None:
    texts = {key: text.encode("utf-8", "replace").decode() for key, text in HOSTILE.items()}
    tasks = ("clean", "noisy_label", "calibration")
    for number, key in enumerate(("script", "close", "image", "turned", "long")):
        text = texts[key]
        made = make(text, skill=1 - 0.1 * number, params={text: text}, tasks=tasks)
        made.publish(tmp_path / "records")
    make("fails", tasks=tasks, failed=texts["image"]).publish(tmp_path / "records")
    (tmp_path / "records/broken.json").write_bytes(b'{"schema_version": 2, "run_id": "\\ud800<script>"}')
    (tmp_path / "records/latin.json").write_bytes(b"\xff\xfe<script>window.__pwned=5</script>")

    files = build(rank(tmp_path / "records"), tmp_path / "site")
    page = open_page((tmp_path / "site/index.html").as_uri(), viewport={"width": 360, "height": 800})
    unfold(page)
    untouched(page)
    shown = page.locator("#board tbody th > a").all_inner_texts()
    assert len(shown) == 6
    assert any(text.startswith(texts["script"]) for text in shown)
    assert all(file in page.inner_text("main") for file in ("broken.json", "latin.json"))
    methods = [file for file in files if file.parent.name == "method"]
    assert len(methods) == 6
    for file in methods:
        page.goto(file.as_uri())
        unfold(page)
        untouched(page)
