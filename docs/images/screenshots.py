"""Pictures of partners' pages, as a desktop and a phone show them: ``make screenshots``.

Needs Chromium on the path (``apt-get install chromium``), and the pages of ``make demo``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAGES = {
    "new": "partner-bakery-table--fresh-crumbs.html",
    "thriving": "partner-bakery-table--roaster.html",
    "disputed": "partner-bakery-table--deal-scout.html",
}
WIDTHS = {"desktop": 1000, "phone": 390}
MOST_HEIGHT = {"desktop": 2400, "phone": 3000}  # the first screens: a picture in the documentation stays small
FRAME = """<iframe id="page" src="{page}" style="width:{width}px;height:400px;border:0"
 onload="document.title = 'height ' + this.contentDocument.documentElement.scrollHeight"></iframe>"""


def main() -> None:
    """Take every picture; ``--whole`` for pages from top to bottom."""
    pages, images = Path(sys.argv[1]).resolve(), Path(__file__).parent
    for story, page in PAGES.items():
        for device, width in WIDTHS.items():
            picture = images / f"partner-{story}-{device}.png"
            whole = "--whole" in sys.argv
            height = height_of(pages / page, width)
            height = height if whole else min(height, MOST_HEIGHT[device])
            taken(pages / page, width, height, picture)
            sys.stdout.write(f"{picture.name}: {width} x {height}, {picture.stat().st_size // 1000} kB\n")


def height_of(page: Path, width: int) -> int:
    """How high the whole page is at that width, by loading it in a frame."""
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "frame.html"
        frame.write_text(FRAME.format(page=page.as_uri(), width=width), encoding="utf-8")
        dom = chromium("--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom", frame.as_uri())
    found = re.search(r"<title>height (\d+)</title>", dom)
    if found is None:
        raise SystemExit(f"Chromium did not load {page}. Make the pages first: make demo")
    return int(found[1])


def taken(page: Path, width: int, height: int, picture: Path) -> None:
    """Write a picture of the page's first ``height`` pixels."""
    chromium(f"--window-size={width},{height}", f"--screenshot={picture}", page.as_uri())


def chromium(*arguments: str) -> str:
    """Run the browser without a window, and give what it prints."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("There is no Chromium here. Install it: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
            "--force-color-profile=srgb", f"--user-data-dir={profile}", *arguments,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)  # noqa: S603 - our own command
    return done.stdout


if __name__ == "__main__":
    main()
