"""The terms that the workload runs under: four programs of three brands, fifty partners each, four models."""

from __future__ import annotations

from pathlib import Path
from typing import Final

BRANDS: Final = ("oven", "roast", "pages")
CURRENCY: Final = ("USD", "USD", "EUR")
PROGRAMS: Final = ("oven-friends", "roast-circle", "pages-readers", "oven-creators")
"""The first three are the brands' own in their order; the first brand has a second one."""
WINDOW_DAYS: Final = {"oven-friends": 30, "roast-circle": 30, "pages-readers": 30, "oven-creators": 14}
"""How long each program's clicks may earn."""
PARTNERS: Final = tuple(f"partner-{number:02d}" for number in range(50))

_TERMS: Final = {
    "oven-friends": """
brand_id = "oven"
currency = "USD"
time_zone = "America/New_York"
priority = 10

[attribution]
credit = "sign_up"
model = "last_touch"

[qualification]
min_order_minor = 1000

[commission]
kind = "percentage"
rate_bps = 1000
hold = "14d"

[customer_reward]
amount_minor = 500

[[tier]]
from = 10
period = "quarter"
rate_bps = 1200

[[tier]]
from = 100
period = "quarter"
rate_bps = 1500

[[bonus]]
id = "first-fifty"
first = 50
period = "month"
scope = "program"
amount_minor = 500

[[milestone]]
id = "hundred"
metric = "qualified_referrals"
threshold = 100
period = "all_time"
award_minor = 10000

[[milestone]]
id = "hundred-together"
metric = "qualified_referrals"
threshold = 100
period = "quarter"
scope = "group"
partners = ["partner-03", "partner-04", "partner-05"]
each_at_least = 10
award_minor = 20000

[[boost]]
id = "february"
from = 2026-02-01T05:00:00Z
until = 2026-03-01T05:00:00Z
multiplier_bps = 15000
""",
    "oven-creators": """
brand_id = "oven"
currency = "USD"
time_zone = "America/New_York"

[attribution]
credit = "order"
model = "linear"
click_window = "14d"

[commission]
kind = "percentage"
rate_bps = 700

[[milestone]]
id = "revenue"
metric = "net_revenue_minor"
threshold = 1000000
period = "month"
award_minor = 5000
""",
    "roast-circle": """
brand_id = "roast"
currency = "USD"

[attribution]
credit = "sign_up"
model = "position_based"

[qualification]
event = "sign_up"

[commission]
kind = "flat"
amount_minor = 300

[[tier]]
from = 50
period = "month"
amount_minor = 400

[[milestone]]
id = "thousand-sign-ups"
metric = "sign_ups"
threshold = 1000
period = "all_time"
scope = "program"
""",
    "pages-readers": """
brand_id = "pages"
currency = "EUR"
time_zone = "Europe/Amsterdam"

[attribution]
credit = "order"
model = "time_decay"
half_life = "3d"

[qualification]
new_customers_only = true

[commission]
kind = "percentage"
rate_bps = 900
hold = "14d"

[[bonus]]
id = "own-ten"
first = 10
period = "quarter"
scope = "partner"
amount_minor = 250
""",
}


def write_terms(folder: Path) -> list[Path]:
    """Write the four terms files; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for program, terms in _TERMS.items():
        head = f'[program]\nid = "{program}"\nversion = 1\neffective_from = 2025-12-01T00:00:00Z'
        partners = "".join(
            f'\n[[partner]]\nid = "{partner}"\nname = "{partner.title()}"\ncoupon_codes = ["{partner.upper()}-10"]\n'
            for partner in PARTNERS
        )
        paths.append(folder / f"{program}.toml")
        paths[-1].write_text(head + terms + partners, encoding="utf-8")
    return paths
