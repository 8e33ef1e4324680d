"""A notice: its id, its body, and how it is kept in the topic ``referrals.notice.v1``.

The id (``webhook-id``) derives from what is told alone, so the same thing has the same id for ever, whoever tells it.
The body has a customer only as the twelve digits of a hash that the partner's page and tables show too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pipeline.webhooks.transitions import Transition

STATUSES: Final = ("waiting", "delivered", "dead", "resend")


class Notice(NamedTuple):
    """One notice for one endpoint: a row of the record ``notice``, in the order of its fields."""

    endpoint: str
    notice_id: str
    subject: str  # JSON array of what identifies the outcome's row, the record's name first
    type: str
    audience: str
    happened_at: int
    occurrence: int
    version: int  # of the outcome's row
    status: str  # one of STATUSES
    attempts: int
    created_at: int
    updated_at: int
    reason: str  # why the last attempt failed
    body: str


def subject_text(subject: Sequence[str]) -> str:
    """The subject as it is kept: a JSON array."""
    return json.dumps(list(subject), ensure_ascii=False, separators=(",", ":"))


def notice_id(subject: Sequence[str], told: Transition) -> str:
    """``msg_`` and 32 hex digits that only what is told determines."""
    parts = [told.type, *subject, told.audience, told.at, told.occurrence]
    digest = hashlib.sha256(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode())
    return f"msg_{digest.hexdigest()[:32]}"


def body_of(
    told: Transition, row: Sequence[Any], *, brand_id: str, scopes: Mapping[tuple[str, str], str], is_final: bool
) -> str:  # fmt: skip
    """The JSON that is sent: type, timestamp and data."""
    data = (
        _milestone(told, row, scopes) if told.type.startswith("milestone") else _referral(told, row, brand_id)
    )  # fmt: skip
    data |= {"terms_version": row[-4], "is_final": is_final}
    if told.type.endswith(("revoked", "reversed")):
        data["reason"] = "correction" if told.is_correction else "refund"
    return json.dumps({"type": told.type, "timestamp": instant(told.at), "data": data}, ensure_ascii=False)


def _milestone(told: Transition, row: Sequence[Any], scopes: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    program_id, milestone_id, scope_key, period, _, count, threshold, reached_at, *_ = row
    is_up = told.type.endswith("reached")
    return {
        "program_id": program_id,
        "milestone_id": milestone_id,
        "scope": scopes.get((program_id, milestone_id), ""),
        "partner_ids": [] if scope_key == "*" else scope_key.split("+"),
        "period": period,
        "count": count,
        "threshold": threshold,
        "reached_at": instant(told.at if is_up or told.is_correction else reached_at),
        "revoked_at": None if is_up or told.is_correction else instant(told.at),
    }


def _referral(told: Transition, row: Sequence[Any], brand_id: str) -> dict[str, Any]:
    program_id, customer_id, _, _, _, signed_up_at, qualified_at, *_ = row
    is_up = told.type.endswith("qualified")
    return {
        "program_id": program_id,
        "partner_id": told.audience,
        "customer": hashlib.sha256(f"{brand_id} {customer_id}".encode()).hexdigest()[:12],
        "signed_up_at": instant(signed_up_at),
        "qualified_at": instant(told.at if is_up or told.is_correction else qualified_at),
        "reversed_at": None if is_up or told.is_correction else instant(told.at),
    }


def instant(ms: int | None) -> str | None:
    """Epoch milliseconds as RFC 3339 in UTC."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
