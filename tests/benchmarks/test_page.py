"""How long a leaderboard's page of a thousand methods takes from a click to the paint, in a real browser."""

from __future__ import annotations

import os
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from kdbench.leaderboard.site.pages import pages
from tests.benchmarks.conftest import machine
from tests.browser import boards
from tests.browser.conftest import ARGUMENTS

METHODS, ROUNDS = 1000, 3
ACTS = {
    "sort by a heading": (
        "[...document.querySelectorAll('#board th[data-column] button')].filter((head) => head.offsetWidth)"
        ".flatMap((head) => [() => head.click(), () => head.click()])"
    ),
    "a letter into the filter": (
        "['m', 'me', 'met', 'method-0', 'method-07', 'method-0', ''].map((text) => () => {"
        "document.getElementById('find').value = text;"
        "document.getElementById('find').dispatchEvent(new Event('input', { bubbles: true })); })"
    ),
}
"""Work to the functions that do it, as a script's expression."""
SCRIPT = """async (rounds) => {
  // A frame's callbacks come before its paint, a message that is sent from one of them after it.
  const painted = () => new Promise((done) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => done(performance.now());
    channel.port2.postMessage(0);
  }));
  const [acts, found] = [ACTS, []];
  for (let round = 0; round <= rounds; round += 1) for (const act of acts) {
    await painted();
    const started = performance.now();
    act();
    const ended = await painted();
    if (round) found.push(ended - started); // the first round loads code
  }
  return found;
}"""


@pytest.mark.parametrize("work", ACTS)
def test_from_an_act_to_the_paint(work: str, tmp_path: Path, results: dict[str, Any]) -> None:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no chromium (Debian: apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api")
    name, html = next(pages(boards.large(METHODS)))
    (tmp_path / name).write_text(html)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto((tmp_path / name).as_uri())
        session = page.context.new_cdp_session(page)
        session.send(
            "Performance.enable", {"timeDomain": "threadTicks"}
        )  # the page's own work, however busy the machine
        before = busy(session)
        took = page.evaluate(SCRIPT.replace("ACTS", ACTS[work]), ROUNDS)
        acts = len(took) * (ROUNDS + 1) // ROUNDS
        cpu = 1000 * (busy(session) - before) / acts
        version = browser.version
        browser.close()
    row = {
        "cpu": round(cpu),
        "median": round(statistics.median(took)), "lowest": round(min(took)), "highest": round(max(took)),
        "n": len(took), "methods": METHODS, "browser": f"Chromium {version}", "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1), **machine(torch.device("cpu")),
    }  # fmt: skip
    results.setdefault("page", {})[work] = row
    times = f"{row['median']} ms ({row['lowest']}-{row['highest']}), {row['cpu']} ms of the processor"
    print(f"\n{work}, {METHODS} methods: {times}, load {row['load']}")


def busy(session: Any) -> float:
    """Seconds that the page's thread has worked."""
    found = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    return float(found["TaskDuration"])
