"""Writes the pages: one over all programs, one a program, one a partner of each program."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.domain.terms import Catalogue, Program
from pipeline.pages import parts, words
from pipeline.pages.partner_page import partner_page
from pipeline.pages.parts import Page
from pipeline.pages.program_page import index_page, program_page
from pipeline.pages.scene import Scene
from pipeline.pages.scope import PanelData

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")


def write_pages(
    warehouse: Warehouse, catalogue: Catalogue, directory: Path, now_ms: int, final_until_ms: int | None = None,
    refresh_s: int | None = None, most: int | None = None,
) -> list[Path]:  # fmt: skip
    """Write the pages into ``directory`` and return their paths, ``index.html`` first.

    They open without a network, and hold no script. ``now_ms`` is the moment that they speak of: the watermark, or the
    end of the data. Outcomes as of ``final_until_ms`` or before are final (the watermark less the allowed lateness;
    default: ``now_ms``, as for a run over files). With ``refresh_s`` browsers load pages again after so many seconds,
    and with ``most`` only the first so many are written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    until_ms = now_ms if final_until_ms is None else final_until_ms
    with PanelData(warehouse) as data:
        pages = islice(_pages(data, catalogue, now_ms, until_ms), most)
        return [_write(replace(page, refresh_s=refresh_s), directory) for page in pages]


def _pages(data: PanelData, catalogue: Catalogue, now_ms: int, final_until_ms: int) -> Iterator[Page]:
    brand_names = brand_names_of(catalogue)
    scenes = [
        Scene(data, program, "", now_ms, final_until_ms, partner_names_of(program))
        for program in catalogue.programs.values()
    ]
    program_files = {scene.program.id: f"program-{_slug(scene.program.id)}.html" for scene in scenes}
    as_of = f"As of {words.moment(now_ms, 'UTC')} (UTC)"
    yield index_page(data, catalogue, scenes, program_files, brand_names, as_of)
    for scene in scenes:
        program = scene.program
        as_of = f"As of {words.moment(now_ms, program.time_zone)} ({program.time_zone})"
        brand = brand_names[program.brand_id]
        files = {each: f"partner-{_slug(program.id)}--{_slug(each)}.html" for each in sorted(program.partner_ids)}
        yield program_page(scene, brand, program_files[program.id], files, as_of)
        for partner_id, file_name in files.items():
            own = Scene(data, program, partner_id, now_ms, final_until_ms, scene.names)
            yield partner_page(own, brand, file_name, as_of)


def partner_names_of(program: Program) -> dict[str, str]:
    """Every partner's name, as the latest version that lists it has it."""
    return {partner.id: partner.name for version in program.versions for partner in version.partners.values()}


def brand_names_of(catalogue: Catalogue) -> dict[str, str]:
    """Brands' names: as programs call the partner of the same id, else made of the id."""
    called = {
        partner_id: name
        for program in catalogue.programs.values()
        for partner_id, name in partner_names_of(program).items()
    }
    return {brand_id: called.get(brand_id, words.named(brand_id)) for brand_id in catalogue.by_brand}


def _slug(identifier: str) -> str:
    """A file name's part that differs for different ids, on every file system."""
    if _SLUG.fullmatch(identifier) and "--" not in identifier:
        return identifier
    simple = re.sub(r"[^a-z0-9]+", "-", identifier.lower()).strip("-")[:40] or "x"
    return f"{simple}-{hashlib.sha256(identifier.encode()).hexdigest()[:8]}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["stat"] = lambda item: isinstance(item, parts.Stat)
    environment.tests["bar"] = lambda item: isinstance(item, parts.Bar)
    environment.tests["progress"] = lambda item: isinstance(item, parts.Progress)
    environment.tests["table"] = lambda item: isinstance(item, parts.Table)
    environment.tests["chart"] = lambda item: isinstance(item, parts.Chart)
    return environment


def _write(page: Page, directory: Path) -> Path:
    path = directory / page.file_name
    draft = path.with_name(f".{page.file_name}.{os.getpid()}.part")
    try:
        draft.write_text(
            _environment().get_template("page.html.j2").render(page=page, sections=parts.without_gaps(page.sections)),
            encoding="utf-8",
        )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
