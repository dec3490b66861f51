"""A gallery of many images: how long `cam report` takes against its run, and how fast the page is in a browser.

    python -m tests.benchmarks.gallery --images 10000

Needs Chromium and the extra `dev`. Run nothing else on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.photographs import make_photographs

ACTIONS = {
    "search": "setState({q: '0001'})",
    "clear the search": "setState({q: ''})",
    "sort": "setState({sort: 'entropy'})",
    "group": "setState({group: 'pred'})",
    "no groups": "setState({group: ''})",
    "heatmaps": "setState({view: 'heatmap'})",
    "summary": "setState({tab: 'summary'})",
    "back to the images": "setState({tab: 'images'})",
    "open an image": "openImage(shown[5])",
    "next image": "turn(1)",
}
_TIMED = """async () => {
  const start = performance.now();
  %s;
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - start;
}"""
_SCROLLED = """async () => {
  const frames = [];
  let last = performance.now();
  for (let i = 0; i < 180; i++) {
    window.scrollBy(0, 40);
    await new Promise(done => requestAnimationFrame(done));
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return frames.sort((a, b) => a - b);
}"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, default=10_000)
    options.add_argument("--run", type=Path, help="a run folder that is there already")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = arguments.run or Path(work) / "run"
        if arguments.run is None:
            make_photographs(Path(work) / "photographs", arguments.images)
            wall, processor = measure("run", str(Path(work) / "photographs"), "--output-dir", str(folder))
            print(f"cam run            {wall:8.1f} s   processor {processor:8.1f} s")
        else:
            wall, processor = json.loads((folder / "index.json").read_text("utf-8"))["timing"]["seconds"], float("nan")
        shutil.rmtree(folder / "report", ignore_errors=True)
        for name in ("cam report", "cam report again"):
            seconds, spent = measure("report", str(folder))
            shares = f"{100 * seconds / wall:.0f} % of the run, processor {100 * spent / processor:.0f} %"
            print(f"{name:<18} {seconds:8.1f} s   processor {spent:8.1f} s   ({shares})")
        open_page(folder / "report.html")


def measure(*command: str) -> tuple[float, float]:
    """Seconds and processor seconds of a command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "camcli", *command, "--quiet"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def open_page(path: Path) -> None:
    """Open the page, scroll, filter, and print how long each takes until the next frame."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page: Any = browser.new_page(viewport={"width": 1440, "height": 900})
        start = time.perf_counter()
        page.goto(path.resolve().as_uri(), wait_until="commit")
        page.wait_for_selector("html[data-ready]", timeout=120_000)
        page.wait_for_function(
            "[...document.querySelectorAll('#grid img')].filter(one => one.naturalWidth).length > 10"
        )
        print(f"page usable after  {time.perf_counter() - start:8.2f} s, with its first thumbnails")
        frames = page.evaluate(_SCROLLED)
        print(f"scrolling          {frames[len(frames) // 2]:8.0f} ms a frame (median), 95 %: {frames[171]:.0f} ms")
        for name, action in ACTIONS.items():
            print(f"{name:<18} {page.evaluate(_TIMED % action):8.0f} ms")
        browser.close()


if __name__ == "__main__":
    main()
