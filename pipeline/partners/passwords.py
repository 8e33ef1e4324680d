"""Passwords: made here, told to the server as a hash, and shown once or written to a file that nobody else may read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

_BYTES: Final = 32


class PasswordFileError(Exception):
    """A file for a password that cannot be used; the text names the remedy."""


def new_password() -> str:
    """43 characters that no rule about passwords refuses: letters of both cases, digits, and one of ``-_``."""
    while True:
        made = secrets.token_urlsafe(_BYTES)
        kinds = (str.islower, str.isupper, str.isdigit, lambda each: each in "-_")
        if all(any(is_kind(each) for each in made) for is_kind in kinds):
            return made


def read_password(path: Path) -> str | None:
    """What a file holds; None where there is no file.

    :raises PasswordFileError: it cannot be read, holds nothing, or others may read it.
    """
    try:
        found = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise PasswordFileError(f"{path} cannot be read ({error}). Mend its rights, or name another folder.") from error
    if mode & 0o077:
        raise PasswordFileError(f"Others may read {path}. Run `chmod 600 {path}`, and --new-password if they did.")
    if not found:
        raise PasswordFileError(f"{path} is empty. Remove it, and run this again with --new-password.")
    return found


def write_password(path: Path, password: str) -> None:
    """Write it to a file of mode 0600, in a folder of mode 0700 that is made where there is none; what was there goes.

    :raises PasswordFileError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(password + "\n")
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise PasswordFileError(f"{path} cannot be written ({error}). Name a folder that you may write to.") from error
