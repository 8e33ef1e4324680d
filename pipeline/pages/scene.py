"""What a page is about: one program, one partner of it or all, one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from pipeline.domain.calendar import period_bounds, period_label
from pipeline.domain.terms import PeriodKind, Program, Terms
from pipeline.pages import words
from pipeline.pages.panels import QUALIFIED_OVER_TIME, Panel
from pipeline.pages.scope import PanelData, Row


@dataclass(frozen=True)
class Scene:
    """What a page is about: a program, a partner of it ("" for all), the moment, and where figures come from.

    A panel that several sections show is asked for once.
    """

    data: PanelData
    program: Program
    partner_id: str
    now_ms: int
    final_until_ms: int
    names: Mapping[str, str]  # partner id to name
    _known: dict[str, list[Row]] = field(default_factory=dict)

    @property
    def terms(self) -> Terms:
        """The version in force now, or the first if none is yet."""
        return self.program.in_force_at(self.now_ms) or self.program.versions[0]

    @property
    def zone(self) -> str:
        """The program's time zone."""
        return self.program.time_zone

    def rows(self, panel: Panel) -> list[Row]:
        """The panel's rows for this scene."""
        if panel.id not in self._known:
            parameters = {"zone": self.zone, "now_ms": self.now_ms, "final_until_ms": self.final_until_ms}
            self._known[panel.id] = self.data.rows(panel, self.program.id, self.partner_id, parameters)
        return self._known[panel.id]

    def row(self, panel: Panel) -> Row:
        """The one row of a panel of figures."""
        return self.rows(panel)[0]

    def money(self, amount_minor: int) -> str:
        """An amount in the program's currency."""
        return words.money(amount_minor, self.program.currency)

    def day_of(self, row: Row) -> date:
        """The local day that a row's ``time`` begins."""
        return words.local(row["time"], self.zone).date()

    def period(self, kind: PeriodKind) -> str:
        """The label of the current period."""
        return period_label(self.now_ms, kind, self.zone)

    def in_period(self, panel: Panel, kind: PeriodKind) -> list[Row]:
        """The panel's rows whose ``time`` lies in the current period: all periods begin with a local day."""
        start_ms, end_ms = period_bounds(self.period(kind), kind, self.zone)
        return [row for row in self.rows(panel) if start_ms <= row["time"] * 1000 < end_ms]

    def qualified_in(self, kind: PeriodKind) -> dict[str, int]:
        """Partner id to the customers that began to qualify in the current period, less those that ceased to.

        A referral row remembers its latest change each way, so a customer that went to and fro over the end of a period
        counts once too often in the later one. The ledger and the milestones have it exactly.
        """
        counts: dict[str, int] = {}
        for row in self.in_period(QUALIFIED_OVER_TIME, kind):
            counts[row["partner_id"]] = counts.get(row["partner_id"], 0) + row["change"]
        return counts
