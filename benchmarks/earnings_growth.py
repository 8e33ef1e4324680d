"""What a referral costs EARNINGS in a program that already has many, with events a little out of order.

    python benchmarks/earnings_growth.py --referrals 1000 1000000

For each number: that many referrals are taken in and settled, then 2 000 more arrive in batches of 100, each batch
reaching back an hour, and every batch is settled at once, as on a live stream. Printed: CPU microseconds a referral of
those.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.domain.contribution import Contribution, CreditedOrder, Earning, Element
from pipeline.domain.terms import Bonus, Catalogue, Milestone, Partner, Program, Terms, Tier
from pipeline.state.rocks import RocksStore
from pipeline.state.store import WriteBatch
from pipeline.steps.earnings import EarningsStep

START_MS = 1_767_225_600_000
SPACING_MS = 10_000
LATE_MS = 3_600_000
PARTNERS = 50
MORE, BATCH = 2_000, 100


def terms() -> Terms:
    return Terms(
        program_id="grown", brand_id="acme", currency="USD", version=1, effective_from_ms=0, rate_bps=1_000,
        time_zone="America/New_York", customer_reward_minor=500, tier_period="quarter",
        tiers=(Tier(10, 1_200), Tier(100, 1_500)),
        bonuses=(Bonus("first-fifty", 50, "quarter", "partner", 2_500),),
        milestones=(
            Milestone("hundred", "qualified_referrals", 100, "month"),
            Milestone("together", "net_revenue_minor", 10_000_000, "all_time", "program"),
        ),
        partners={f"p{number}": Partner(f"p{number}", f"Partner {number}") for number in range(PARTNERS)},
    )  # fmt: skip


def contribution(number: int, at: int) -> Contribution:
    """A customer whose order at ``at`` qualifies the referral."""
    partner = f"p{number % PARTNERS}"
    order = CreditedOrder(f"O{number}", at, f"o{number:09}", 1, ((partner, 10_000),), at)
    customer = f"c{number:09}"
    signed_up = Element(at - 1_000, f"s{number:09}", 1, customer, partner, 1, 0, None, True, None, False, 0, 0, ())
    ordered = Element(
        at, f"o{number:09}", 2, customer, partner, 1, 1, None, False, order, True, 0, 5_000, (Earning(order, 0, 5_000),)
    )
    return Contribution("grown", customer, 2, (signed_up, ordered))


def measure(referrals: int) -> float:
    """CPU microseconds for each of the last referrals."""
    random = Random(referrals)
    with tempfile.TemporaryDirectory(prefix="crosscredit-bench-") as folder:
        store = RocksStore(Path(folder))
        step = EarningsStep(store, Catalogue.of([Program((terms(),))]))
        for first in range(0, referrals, 10_000):
            batch = WriteBatch()
            numbers = range(first, min(first + 10_000, referrals))
            step.stage([contribution(number, START_MS + number * SPACING_MS) for number in numbers], batch)
            store.write(batch)
        settle(step, store)
        now = START_MS + referrals * SPACING_MS
        began = time.process_time()
        for first in range(referrals, referrals + MORE, BATCH):
            now += BATCH * SPACING_MS
            batch = WriteBatch()
            late = [contribution(number, now - random.randrange(LATE_MS)) for number in range(first, first + BATCH)]
            step.stage(late, batch)
            store.write(batch)
            settle(step, store)
        used = time.process_time() - began
        store.close()
    return used / MORE * 1e6


def settle(step: EarningsStep, store: RocksStore) -> None:
    for settled in step.settle():
        store.write(settled.notes)
        store.write(settled.batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--referrals", type=int, nargs="+", default=[1_000, 1_000_000])
    costs = {}
    for referrals in parser.parse_args().referrals:
        costs[referrals] = measure(referrals)
        print(f"{referrals:>10,} referrals: {costs[referrals]:,.0f} us of CPU for each further one", flush=True)
    first, *_, last = [*costs.values(), *list(costs.values())[-1:]]
    print(f"last / first: {last / first:.2f}")


if __name__ == "__main__":
    main()
