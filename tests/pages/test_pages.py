"""The pages as files: structure, escaping, offline, accessible, and the figures and words that a reader sees."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.terms import Catalogue
from pipeline.pages.writer import _slug, write_pages
from tests.pages.world import AWKWARD, DAY, HOSTILE_CODE, NOW, START, World, catalogue, insert

VOID = {"meta", "link", "br", "img", "input", "hr"}
BAKERY, INDEX = "partner-acme-friends--bakery.html", "index.html"
PROGRAM = "program-acme-friends.html"


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed where it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data.strip())


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open
    return reader


def text_of(html: str) -> str:
    return " ".join(part for part in read(html).text if part)


def test_there_is_a_page_for_everyone(pages: dict[str, str]) -> None:
    back = _slug("Bakery: Café/Kreis")
    assert sorted(pages) == sorted(
        [INDEX, PROGRAM, f"program-{back}.html", f"partner-{back}--acme.html", f"partner-{back}--idle.html"]
        + [f"partner-acme-friends--{partner}.html" for partner in ("bakery", "roaster", "florist", "idle")]
    )


def test_pages_are_sound_documents(pages: dict[str, str]) -> None:
    for html in pages.values():
        page = read(html)
        tags = [tag for tag, _ in page.elements]
        assert html.startswith("<!doctype html>")
        for landmark in ("header", "main", "footer", "h1", "title"):
            assert tags.count(landmark) == 1
        assert page.elements[0] == ("html", {"lang": "en"})
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert page.headings[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(page.headings))
        for tag, attributes in page.elements:
            if tag == "section":
                assert attributes["aria-labelledby"] in ids
            if attributes.get("role") == "img":
                assert attributes["aria-label"]
            if tag == "th":
                assert attributes["scope"] in ("col", "row")
            if tag == "svg":
                assert attributes["aria-hidden"] == "true"
        assert tags.count("table") == tags.count("caption") == tags.count("thead")


def test_pages_need_no_network_and_no_script(pages: dict[str, str]) -> None:
    for html in pages.values():
        assert "http:" not in html
        assert "https:" not in html
        assert "@import" not in html
        assert "url(" not in html
        for tag, attributes in read(html).elements:
            assert tag not in ("script", "iframe", "object", "embed", "img", "link", "base", "form")
            assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "xlink:href")]
            if tag == "a":
                target = str(attributes["href"])
                assert target.startswith("#") or target in pages


def test_a_partner_s_page_leads_nowhere_else(pages: dict[str, str]) -> None:
    for name, html in pages.items():
        if name.startswith("partner-"):
            assert {attributes["href"] for tag, attributes in read(html).elements if tag == "a"} == {"#main"}


def test_names_are_escaped(pages: dict[str, str]) -> None:
    assert AWKWARD in text_of(pages[BAKERY])
    assert HOSTILE_CODE in text_of(pages[BAKERY])
    for html in pages.values():
        assert "<Co>" not in html
        assert "<script" not in html
        assert "<i>other" not in html
        assert "Idle <b>" not in html


def test_nobody_s_personal_data_is_shown(pages: dict[str, str]) -> None:
    for html in pages.values():
        for secret in ("secret", "example.com", "203.0.113", "Mozilla"):
            assert secret not in html


def test_a_partner_reads_nothing_of_others(pages: dict[str, str]) -> None:
    assert "Roaster" in text_of(pages[BAKERY])  # named as a member of the joint milestone
    florist = text_of(pages["partner-acme-friends--florist.html"])
    assert "Roaster" not in florist
    assert "Söhne" not in florist.replace(f"Referrals to {AWKWARD}", "")


def test_what_the_bakery_reads(pages: dict[str, str], world: World) -> None:
    text = text_of(pages[BAKERY])
    assert "As of 21 March 2026, 20:00 (America/New_York)" in text  # the 22nd in UTC
    earned = sum(
        row["amount_minor"]
        for row in world.of("ledger_entries", "acme-friends", "bakery")
        if not row["kind"].startswith("customer_reward")
    )
    assert f"Earned in all US${earned / 100:,.2f}" in text
    assert "final" in text
    assert "provisional" in text
    assert "38 of 50 customers" in text
    assert "Together with Roaster." in text
    assert "Each member brings at least 3 customers; you have" in text
    assert "Award: US$500.00 for each member." in text
    assert "Reached on 9 Feb 2026." in text
    assert "US$1,234.56 of US$10,000.00" in text
    assert "of 10 places taken" in text
    assert "US$6.00 for each of the first 10 customers that qualify; January to March 2026." in text
    assert f"The customer used your code {HOSTILE_CODE}." in text
    assert "The customer is one of your own accounts, which never earns." in text
    assert "At the sign-up, the last visit before the sign-up takes the credit." in text
    assert (
        "Qualified customers are counted each quarter; from 5: 12.5 % of each order; from 500: 20 % of each order."
        in text
    )


def test_a_partner_without_anything_has_a_page(pages: dict[str, str]) -> None:
    text = text_of(pages["partner-acme-friends--idle.html"])
    assert "Earned in all US$0.00" in text
    assert "No credit yet." in text
    assert "0 of 5 customers" in text


def test_money_has_the_currency_s_digits(pages: dict[str, str]) -> None:
    text = text_of(pages[f"partner-{_slug('Bakery: Café/Kreis')}--acme.html"])
    assert "Earned in all JP¥450" in text
    assert "Sign-ups credited" not in text  # this program credits orders


def test_what_a_brand_reads(pages: dict[str, str]) -> None:
    text = text_of(pages[PROGRAM])
    assert "A program of Acme" in text
    assert "A field is missing, of a wrong type or out of range Acme 2 in.jsonl, 1" in text
    assert "No program of this brand is known" not in text
    index = text_of(pages[INDEX])
    assert f"Acme {AWKWARD} 2 " in index  # give and take
    assert "<i>other</i>" in index
    assert "2 programs of 2 brands." in index


def test_bars_never_leave_their_track(pages: dict[str, str]) -> None:
    for html in pages.values():
        widths = [float(width) for width in re.findall(r'style="width:([0-9.]+)%"', html)]
        assert all(0 <= width <= 100 for width in widths)


def test_an_empty_warehouse_has_pages_too(tmp_path: Path) -> None:
    with Warehouse.embedded(None) as empty:
        empty.migrate()
        paths = write_pages(empty, catalogue(), tmp_path, START - DAY)
        assert write_pages(empty, Catalogue.of([]), tmp_path / "none", NOW) == [tmp_path / "none" / INDEX]
    assert len(paths) == 9
    for path in paths:
        text_of(path.read_text(encoding="utf-8"))


def test_a_partner_that_sent_clicks_alone_stands_beside_the_others(tmp_path: Path) -> None:
    click = {"occurred_at": START, "brand_id": "acme", "program_id": "acme-friends", "partner_id": "idle"}
    with Warehouse.embedded(None) as warehouse:
        warehouse.migrate()
        insert(warehouse, "clicks", [{**click, "event_id": f"c{n}", "visitor_id": "v"} for n in range(3)], version=1)
        write_pages(warehouse, catalogue(), tmp_path, START + DAY)
    text = text_of((tmp_path / PROGRAM).read_text(encoding="utf-8"))
    assert re.search(r"Idle Hands 0 3 0 0 \S+ – \S+ \S+ ", text), text


def test_file_names_differ_where_ids_differ() -> None:
    ids = ["a", "A", "a b", "a-b", "a--b", "a/b", "../a", "ä", "", "a" * 80, "a" * 81, "con", "."]
    names = [_slug(each) for each in ids]
    assert len({name.lower() for name in names}) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)


def _luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast(theme: int) -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for what a chart draws."""
    css = resources.files("pipeline.pages").joinpath("templates/style.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[theme]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))

    def contrast(one: str, other: str) -> float:
        high, low = sorted((_luminance(colours[one]), _luminance(colours[other])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for ground in ("card", "paper"):
        for text in ("ink", "muted", "link", "good"):
            assert contrast(text, ground) >= 4.5, (text, ground)
    for drawn in ("c1", "c2", "c3"):
        assert contrast(drawn, "card") >= 3
