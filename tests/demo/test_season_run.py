"""The whole way: the season's exports through `crosscredit run`, and the tables against what the generator knows."""

import subprocess
import sys
from pathlib import Path

from pipeline.demo.season import write_season

# In a process of its own: the embedded ClickHouse takes one database folder a process.
CHECK = """
import sys
from pathlib import Path
from pipeline.clickhouse.warehouse import Warehouse
from pipeline.demo.season import SeasonTruth, check_season

folder = Path(sys.argv[1])
with Warehouse.embedded(folder / "database" / "warehouse") as warehouse:
    print(*check_season(SeasonTruth.read(folder / "truth.json"), warehouse.query), sep="\\n", end="")
"""


def test_the_pipeline_finds_what_the_generator_knows(tmp_path: Path):
    write_season(tmp_path, seed=11, events=15_000)
    command = [str(Path(sys.executable).with_name("crosscredit")), "run", "--program", str(tmp_path / "programs")]
    options = ["--input", str(tmp_path / "events"), "--database", str(tmp_path / "database")]
    subprocess.run([*command, *options], check=True, capture_output=True)
    checked = subprocess.run([sys.executable, "-c", CHECK, str(tmp_path)], check=True, capture_output=True, text=True)
    assert checked.stdout == ""
