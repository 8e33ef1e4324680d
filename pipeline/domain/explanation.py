"""Why a conversion was credited as it was: the ``explanation`` of an attribution (contract.md, section 6).

JSON with these keys: ``outcome`` ("credited" or "uncredited"), ``program_id`` and ``terms_version`` of the credit,
``inherited_from`` (the sign-up whose credit an order inherits, else ""), ``touchpoints`` latest first, each with its
verdict, and ``touchpoints_omitted``, how many more clicks than the 100 latest there were.
"""

from __future__ import annotations

import orjson

from pipeline.domain.attribution import Conversion, Touchpoint


def explain(conversion: Conversion) -> str:
    """The explanation as JSON; equal facts give equal bytes."""
    credit = conversion.credit
    explanation = {
        "outcome": "uncredited" if credit is None else "credited",
        "program_id": "" if credit is None else credit.program_id,
        "terms_version": 0 if credit is None else credit.terms.version,
        "inherited_from": conversion.inherited_from,
        "touchpoints": [explain_touchpoint(each) for each in conversion.touchpoints],
        "touchpoints_omitted": conversion.touchpoints_omitted,
    }
    return orjson.dumps(explanation).decode()


def explain_touchpoint(touchpoint: Touchpoint) -> dict[str, object]:
    """One touchpoint, with its own window's edge and the version of its program's terms."""
    return {
        "kind": touchpoint.kind,
        "click_id": touchpoint.click_id,
        "code": touchpoint.code,
        "at": touchpoint.at,
        "partner_id": touchpoint.partner_id,
        "program_id": touchpoint.program_id,
        "verdict": touchpoint.verdict,
        "share_bps": touchpoint.share_bps,
        "window_ends_at": touchpoint.window_ends_at,
        "terms_version": touchpoint.terms_version,
    }
