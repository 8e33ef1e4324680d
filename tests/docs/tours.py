"""The tours of the pages: shell blocks marked ``sh run``, and the output that the page shows below each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "----- end of block -----"


@dataclass(frozen=True)
class Step:
    """One block to run, and the output shown below it ("" if none is shown)."""

    script: str
    shown: str


def blocks(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page: what stands behind the fence, and the content."""
    return [(match[1].strip(), match[2]) for match in _FENCE.finditer(text)]


def tour(text: str) -> list[Step]:
    """A page's blocks to run, in order; a block ``text`` right behind one is its output."""
    steps: list[Step] = []
    previous = ""
    for info, content in blocks(text):
        if info == "sh run":
            steps.append(Step(content, ""))
        elif info == "text" and previous == "sh run":
            steps[-1] = Step(steps[-1].script, content)
        previous = info
    return steps


def outputs(steps: Sequence[Step], folder: Path) -> list[str]:
    """What each step prints, run one after the other in one shell in ``folder``; blanks at line ends are cut."""
    script = "exec 2>&1\n" + "".join(f"{step.script}\necho '{_MARK}'\n" for step in steps)
    tools = Path(sys.executable).parent
    environment = {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "COLUMNS": "80",
        "LC_ALL": "C.UTF-8",
        "PYTHONWARNINGS": "ignore",  # the tests' own filter is not the reader's
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    found: list[str] = [""]
    for line in lines:
        if line == _MARK:
            found.append("")
        else:
            found[-1] += line + "\n"
    return found[:-1]
