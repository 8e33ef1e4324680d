"""Why a conversion was credited as it was: the ``explanation`` of an attribution (contract.md, section 6)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.domain.attribution import Conversion, Touchpoint


class Explanation(msgspec.Struct, frozen=True):
    """The JSON object of an explanation, field for field."""

    outcome: str  # "credited" | "uncredited"
    program_id: str  # of the credit, else ""
    terms_version: int  # of the credit, else 0
    inherited_from: str  # event_id of the sign-up whose credit an order inherits, else ""
    touchpoints: Sequence[Touchpoint]  # latest first, a coupon before the clicks
    touchpoints_omitted: int  # how many more clicks there were than the 100 latest


def explanation_of(conversion: Conversion) -> Explanation:
    """The explanation of one conversion."""
    credit = conversion.credit
    return Explanation(
        "uncredited" if credit is None else "credited",
        "" if credit is None else credit.program_id,
        0 if credit is None else credit.terms.version,
        conversion.inherited_from,
        conversion.touchpoints,
        conversion.touchpoints_omitted,
    )


def explain(conversion: Conversion) -> str:
    """The explanation as JSON; equal facts give equal bytes."""
    return _encode(explanation_of(conversion)).decode()


_encode = msgspec.json.Encoder().encode
