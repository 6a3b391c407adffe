"""Take the screenshot of the leaderboard that README.md shows, docs/leaderboard.png, with playwright and Chromium.

python -m tools.screenshot
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from kdbench.leaderboard import rank
from kdbench.leaderboard.site import build

ROOT = Path(__file__).resolve().parent.parent
WIDTH, ROOM = 1280, 12


def main() -> None:
    """The first suite's table and the plots of the first three methods, in light colours."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        build(rank(ROOT / "leaderboards/records"), Path(folder))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 1000}, color_scheme="light")
        page.goto((Path(folder) / "index.html").as_uri())
        for box in page.locator("#board input[type=checkbox]").all()[:3]:
            box.check()
        # On the whole page it would lie across the table; the page itself shows it again when it is resized.
        page.locator("#choice").evaluate("bar => { bar.style.visibility = 'hidden'; }")
        bottom = page.locator("#board").bounding_box()
        assert bottom is not None
        height = bottom["y"] + bottom["height"] + page.evaluate("scrollY") + ROOM
        shot = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
        browser.close()
    # A palette makes a third of the file.
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        ROOT / "docs/leaderboard.png", optimize=True
    )


if __name__ == "__main__":
    main()
