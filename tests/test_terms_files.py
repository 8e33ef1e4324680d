"""Terms files on disk: what is found, what is unreadable, on which line, and what the fingerprint sees."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.terms_reader import Problem, TermsError
from pipeline.domain.terms_rules import parse_terms
from pipeline.terms_files import fingerprint, load_catalogue
from pipeline.toml_lines import toml_lines

EXAMPLE = Path(__file__).parents[1] / "docs" / "terms-example.toml"
SMALL = """\
[program]
id = "p"
brand_id = "b"
currency = "USD"
version = 1
effective_from = 2026-01-01T00:00:00Z
[commission]
rate_bps = 1000
"""


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems_of(*paths: Path) -> tuple[Problem, ...]:
    with pytest.raises(TermsError) as caught:
        load_catalogue(paths)
    return caught.value.problems


def test_the_example_loads() -> None:
    [terms] = load_catalogue([EXAMPLE]).programs["acme-friends"].versions
    assert [tier.rate_bps for tier in terms.tiers] == [1500, 2000]
    assert [each.id for each in terms.milestones] == ["hundred-together", "first-thousand"]
    assert list(terms.partners) == ["bakery", "roaster"]


def test_what_the_example_calls_a_default_is_one() -> None:
    lines = EXAMPLE.read_text().splitlines()
    short = tomllib.loads("\n".join(line for line in lines if not re.search("# default[.,;]", line)))
    assert short["attribution"] == short["qualification"] == {}
    assert load_catalogue([EXAMPLE]).programs["acme-friends"].versions == (parse_terms(short, "short.toml"),)


def test_files_and_folders_and_folders_in_them(tmp_path: Path) -> None:
    one = write(tmp_path, "a/1.toml", SMALL)
    write(tmp_path, "a/sub/2.toml", SMALL.replace("version = 1", "version = 2").replace("2026", "2027"))
    write(tmp_path, "a/notes.txt", "no terms")
    write(tmp_path, "a/.#1.toml", "a copy")
    write(tmp_path, "a/..2026/1.toml", "a copy")
    other = write(tmp_path, "other.terms", SMALL.replace('"p"', '"q"'))
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "link.toml").symlink_to(one)
    catalogue = load_catalogue([tmp_path / "a", one, other])
    assert [
        (each.program_id, each.version) for program in catalogue.programs.values() for each in program.versions
    ] == [
        ("p", 1),
        ("p", 2),
        ("q", 1),
    ]


def test_no_terms_at_all(tmp_path: Path) -> None:
    [found] = problems_of()
    assert str(found).startswith("No program terms are given. Name a terms file")
    [found] = problems_of(tmp_path)
    assert (found.file, found.what) == (str(tmp_path), "there is no .toml file in this folder")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    dangling = tmp_path / "folder" / "dangling.toml"
    dangling.parent.mkdir()
    dangling.symlink_to(tmp_path / "gone.toml")
    found = problems_of(missing, tmp_path / "folder", Path("nul\0"))
    assert sorted(each.what for each in found) == [
        "the file cannot be read: embedded null byte",
        "there is no such file",
        "there is no such file",
    ]


def test_files_that_this_user_may_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    secret = write(tmp_path, "secret.toml", SMALL)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    [found] = problems_of(secret)
    assert found.what == "the file cannot be read: Permission denied"


def test_text_in_another_encoding(tmp_path: Path) -> None:
    path = write(tmp_path, "latin.toml", SMALL.encode() + "# Caf\u00e9\n".encode("latin-1"))
    [found] = problems_of(path)
    assert str(found) == (
        f"{path}, line 9: the file is not UTF-8 text: byte 0xe9 cannot be read. Save it with the encoding UTF-8."
    )


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    text = SMALL.replace("\n", "\r\n")
    assert load_catalogue([write(tmp_path, "a.toml", b"\xef\xbb\xbf" + text.encode())])
    [found] = problems_of(write(tmp_path, "b.toml", text.replace("1000", "-1")))
    assert found.line == 8


@pytest.mark.parametrize(
    ("line", "what", "remedy"),
    [
        ("hold = 10%", "after a statement", "write numbers without %"),
        ("currency = USD", "invalid value", 'currency = "USD"'),
        ("currency USD", "expected '=' after a key", "key = value"),
        ('currency = "USD', "illegal character", "Close the text"),
        ("partners = [", "", ""),
        ("a = 1\na = 2", "overwrite", "once"),
        ("[program]", "twice", "Write each [table] once"),
        ("from = 2026-02-30T00:00:00Z", "invalid date", "2026-01-31T00:00:00Z"),
        ("from = 2026-2-1T00:00:00Z", "after a statement", "2026-01-31T00:00:00Z"),
        ("a = " + "[" * 5000, "", ""),
        ("a = " + "9" * 5000, "", ""),
    ],
)
def test_what_is_no_toml(tmp_path: Path, line: str, what: str, remedy: str) -> None:
    path = write(tmp_path, "a.toml", SMALL + line + "\n")
    [found] = problems_of(path)
    assert found.file == str(path)
    assert found.what.startswith("this is not TOML: ")
    assert what in found.what
    assert "(at" not in found.what
    assert remedy in found.remedy
    if what:
        assert found.line == (10 if "\n" in line else 9)


def test_problems_of_all_files_with_their_lines(tmp_path: Path) -> None:
    write(tmp_path, "1.toml", SMALL.replace("USD", "usd"))
    write(tmp_path, "2.toml", SMALL + "[broken\n")
    write(tmp_path, "3.toml", SMALL.replace('"p"', '"q"'))
    write(tmp_path, "4.toml", SMALL.replace('"p"', '"r"').replace("USD", "EUR"))
    found = problems_of(tmp_path)
    assert [(Path(each.file).name, each.line) for each in found] == [("1.toml", 4), ("2.toml", 9), ("4.toml", 4)]


# Lines


def test_lines_of_keys() -> None:
    text = '''\
# a comment = 1
title = "x" # [no.table]
[commission]   # c
rate_bps = 1
"quoted key" = 2
'single.quoted' = 3
sub.deep = { a = 1, b = [
  2, 3 ] }

[[tier]]
from = 1
[[tier]]
from = 2
text = """
from = 3
[[tier]]
"""
raw = \'\'\'
] = "\'\'\'
[[partner]]
coupon_codes = [
  "a", # "b", ]
  "]",

  "c\\"d",
]
name = "N"
[partner.inner]
x = 1
[[partner.list]]
y = 1
[[partner]]
name = 2026-01-01 00:00:00Z
'''
    tomllib.loads(text)
    lines = toml_lines(text)
    assert lines == {
        "title": 2,
        "commission": 3,
        "commission.rate_bps": 4,
        'commission."quoted key"': 5,
        'commission."single.quoted"': 6,
        "commission.sub": 7,
        "commission.sub.deep": 7,
        "commission.sub.deep.a": 7,
        "commission.sub.deep.b": 7,
        "commission.sub.deep.b[1]": 8,
        "commission.sub.deep.b[2]": 8,
        "tier": 10,
        "tier[1]": 10,
        "tier[1].from": 11,
        "tier[2]": 12,
        "tier[2].from": 13,
        "tier[2].text": 14,
        "tier[2].raw": 18,
        "partner": 20,
        "partner[1]": 20,
        "partner[1].coupon_codes": 21,
        "partner[1].coupon_codes[1]": 22,
        "partner[1].coupon_codes[2]": 23,
        "partner[1].coupon_codes[3]": 25,
        "partner[1].name": 27,
        "partner[1].inner": 28,
        "partner[1].inner.x": 29,
        "partner[1].list": 30,
        "partner[1].list[1]": 30,
        "partner[1].list[1].y": 31,
        "partner[2]": 32,
        "partner[2].name": 33,
    }


def test_lines_of_tables_written_as_a_list() -> None:
    lines = toml_lines("tier = [\n  { from = 1 },\n  { from = 2,\n rate_bps = 3 },\n]\n")
    assert (lines["tier[1].from"], lines["tier[2].from"], lines["tier[2]"]) == (2, 3, 3)


@given(st.text(alphabet="[]{}=.,\"'#\\ \nab1", max_size=60))
def test_looking_for_lines_always_ends(text: str) -> None:
    last = text.count("\n") + 1
    assert all(1 <= line <= last for line in toml_lines(text).values())


def paths_in(value: object, path: str) -> list[str]:
    if isinstance(value, dict):
        return [
            path,
            *(each for key, item in value.items() for each in paths_in(item, f"{path}.{key}" if path else key)),
        ]
    if isinstance(value, list):
        return [path, *(each for number, item in enumerate(value, 1) for each in paths_in(item, f"{path}[{number}]"))]
    return [path]


def test_every_key_of_the_example_has_the_line_it_is_on() -> None:
    text = EXAMPLE.read_text()
    lines, rows = toml_lines(text), text.splitlines()
    for path in paths_in(tomllib.loads(text), "")[1:]:
        word = path.rpartition(".")[2].split("[")[0]
        assert word in rows[lines[path] - 1] or rows[lines[path] - 1].startswith('  "'), path


# Fingerprint


def fingerprint_of(folder: Path, *texts: str) -> str:
    return fingerprint(load_catalogue([write(folder, f"{number}.toml", text) for number, text in enumerate(texts)]))


def test_a_fingerprint_sees_meaning_only(tmp_path: Path) -> None:
    plain = fingerprint_of(tmp_path, SMALL)
    assert len(plain) == 64
    other_order = (
        '[commission]\nrate_bps = 0x3e8 # ten\nkind = "percentage"\n[attribution]\nhalf_life = "9d"\n'
        + "\n".join(["[program]", *SMALL.splitlines()[5:0:-1]]).replace(
            "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00"
        )
    )
    assert fingerprint_of(tmp_path / "elsewhere", other_order) == plain
    later = SMALL.replace("version = 1", "version = 2").replace("2026", "2027")
    assert fingerprint_of(tmp_path, SMALL, later) == fingerprint_of(tmp_path, later, SMALL) != plain


def test_a_fingerprint_does_not_see_the_order_of_tables_and_items(tmp_path: Path) -> None:
    one = '[[partner]]\nid = "a"\nname = "A"\ncoupon_codes = ["1", "2"]\n'
    two = '[[partner]]\nid = "b"\nname = "B"\n'
    changed = two + one.replace('"1", "2"', '"2", "1"')
    assert fingerprint_of(tmp_path, SMALL + one + two) == fingerprint_of(tmp_path, SMALL + changed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1500", "1501"),
        ('"bakery"', '"baker"'),
        ('"BREAD10"', '"BREAD11"'),
        ("2027-01-01", "2027-01-02"),
        ('"last_touch"', '"linear"'),
        ("each_at_least = 10", "each_at_least = 11"),
        ("revocable = true", "revocable = false"),
        ("version = 1", "version = 2"),
    ],
)
def test_a_fingerprint_sees_every_change(tmp_path: Path, old: str, new: str) -> None:
    text = EXAMPLE.read_text()
    assert old in text
    assert fingerprint_of(tmp_path, text) != fingerprint_of(tmp_path, text.replace(old, new))


def test_the_fingerprint_of_the_example_stays_from_release_to_release() -> None:
    expected = "b413f6395f42a1a0345497d7d93b0567c3a4d4b4d353ff7cae5af2ee72c42c03"
    assert fingerprint(load_catalogue([EXAMPLE])) == expected
