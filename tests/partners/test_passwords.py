from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeline.partners.passwords import PasswordFileError, new_password, read_password, write_password


def test_passwords_differ_and_please_every_rule() -> None:
    made = {new_password() for _ in range(50)}
    assert len(made) == 50
    for each in made:
        assert len(each) == 43
        assert any(map(str.islower, each))
        assert any(map(str.isupper, each))
        assert any(map(str.isdigit, each))
        assert set(each) & set("-_")


def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "partners" / "x.password"
    assert read_password(path) is None
    write_password(path, "first")
    write_password(path, "second")
    assert read_password(path) == "second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["x.password"]


@pytest.mark.parametrize(("content", "mode", "remedy"), [("x", 0o644, "chmod 600"), ("", 0o600, "--new-password")])
def test_a_file_that_others_may_read_or_that_is_empty_is_refused(
    tmp_path: Path, content: str, mode: int, remedy: str
) -> None:
    path = tmp_path / "x.password"
    path.write_text(content, encoding="utf-8")
    path.chmod(mode)
    with pytest.raises(PasswordFileError, match=remedy):
        read_password(path)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(PasswordFileError, match="Name a folder that you may write to"):
        write_password(tmp_path / "file" / "x.password", "hush")
