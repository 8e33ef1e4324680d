"""What a partner may see of each table and view, once, as data. Decision 0017 says why each wall stands.

Every table and view of crosscredit's database is in exactly one of the collections below; a test holds them against the
migrations, so that a new table is closed to partners until somebody decides here what they may see of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pipeline.pages.panels import VIEWS

Reach = Literal["partner", "program", "brand", "everything"]
"""Which rows of a table the owner of a partner's views may read: the partner's, its program's, its brand's, or all."""

TABLES: Final[Mapping[str, Reach]] = {
    "clicks": "partner",
    "referrals": "program",  # a credit that is shared says when the customer signed up, whoever is its primary partner
    "ledger_entries": "program",  # the places of a program's bonus that are taken, by anybody
    "milestones": "program",
    "attributions": "brand",  # who had the credit of a conversion that the partner only touched
    "orders": "brand",
    "refunds": "brand",
    "pipeline_progress": "everything",
    # Copies for reading, some of which name nobody but by hashes.
    "clicks_by_partner": "partner",
    "corrected_clicks": "everything",  # a click that was corrected is missing where it was before, whoever's it is now
    "credits_by_partner": "partner",
    "passed_over": "everything",  # conversions by who had their credit, with all who had not
    "ledger_by_partner": "program",
    "order_amounts": "everything",
    "refund_amounts": "everything",
    "program_terms": "program",
}
"""The tables behind the partners' views. The narrowest reach under which the views say the same as for the operator.

An owner is granted those that its views read, and no others."""

HIDDEN: Final = frozenset(
    {
        "sign_ups", "dead_letters", "late_events", "schema_migrations", "rejected_records",
        "current_attributions", "current_referrals", "current_ledger_entries", "current_milestones",
        "current_dead_letters", "current_late_events", "current_clicks", "current_sign_ups", "current_orders",
        "current_refunds", "current_program_terms",
        "clicks_by_partner_feed", "corrected_clicks_feed", "credits_by_partner_feed", "passed_over_feed",
        "ledger_by_partner_feed", "order_amounts_feed", "refund_amounts_feed",
    }
)  # fmt: skip
"""Tables and views that nothing of a partner's reads."""

PARTNER_VIEWS: Final = (*(view for view in VIEWS if view.startswith("partner_")), "current_progress")
"""The views that a partner has, under the same names. Those with a program_id and a partner_id are narrowed."""

INNER_VIEWS: Final = ("program_brands", "terms_in_force")
"""Views that the partners' views read, and no partner does."""

PERSONAL: Final = frozenset(
    {
        "ip", "user_agent", "visitor_id", "landing_url", "referrer_url", "email_sha256", "payment_fingerprint", "raw",
    }
)  # fmt: skip
"""Columns that not even the owner of a partner's views may read."""

FENCE: Final = "LIMIT 18446744073709551615"
"""Ends every view of a partner. No condition is moved across a LIMIT: without it, a condition that the partner writes
may run over other partners' rows before the view's own does, and tell of them by its errors (decision 0017)."""

EVERYONE: Final = "*"
"""The partner_id of rows that are for every partner of a program."""

KEYED: Final[Mapping[str, str]] = {
    "customer": "substring(lower(hex(SHA256(concat({key}, {column})))), 1, 12)",
    "buyer": "sipHash64({key}, {column})",
    "purchase": "sipHash64({key}, {column})",
    "conversion": "reinterpretAsUInt128(sipHash128({key}, {column}))",
}
"""Columns that are hashes of customers' ids, and what a partner sees instead: a hash of them with a key of its own.

Whoever knows how ids look can try out all of them on a hash. Without the key, which only the owner can read, that tells
nothing; and two partners cannot find out by it which customers they share. Within a partner's views they still join."""

DAY_ALONE: Final = frozenset({("partner_bonus_slots", "taken_at")})
"""Times of which a row for everyone tells the program's local day only: to the millisecond they are somebody else's."""
