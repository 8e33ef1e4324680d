"""Turn a public data set into events and terms that `crosscredit run` takes.

    python examples/real_data/convert.py olist FOLDER OUT           real channels, first contacts and sign-ups
    python examples/real_data/convert.py online-retail FILE OUT     real orders, cancellations and customers

OUT gets events/*.jsonl and programs/*.toml. Nothing is downloaded; docs/real-data.md says where the data comes from,
under which licence, and what of it is real.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parent))
import olist
import online_retail

Event = dict[str, Any]
TERMS = Path(__file__).resolve().parent / "terms"


def write(events: Iterable[Event], out: Path, terms: str) -> dict[str, int]:
    """Write a file of events for each type, and the terms; how many events there are of each type."""
    by_type: dict[str, list[Event]] = {}
    for event in events:
        by_type.setdefault(event["type"], []).append(event)
    for folder in ("events", "programs"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for event_type, of_type in by_type.items():
        lines = b"".join(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in of_type)
        (out / "events" / f"{event_type}s.jsonl").write_bytes(lines)
    shutil.copyfile(TERMS / terms, out / "programs" / terms)
    return {event_type: len(of_type) for event_type, of_type in by_type.items()}


def main() -> None:
    """Parse the command line, convert, say what was made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("olist", "online-retail"))
    parser.add_argument("source", type=Path, help="olist: the folder of its two files; online-retail: .csv or .parquet")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", default="2026", help="online-retail: for the clicks, which are made up")
    options = parser.parse_args()
    if not options.source.exists():
        parser.error(f"{options.source} does not exist. docs/real-data.md says where to get it.")
    if options.data == "olist":
        counts = write(olist.events(options.source), options.out, "olist-sellers.toml")
    else:
        counts = write(online_retail.events(options.source, options.seed), options.out, "gift-shop-friends.toml")
    told = ", ".join(f"{count:,} {event_type}s" for event_type, count in counts.items())
    sys.stdout.write(f"{told} in {options.out / 'events'}\n")


if __name__ == "__main__":
    main()
