"""EARNINGS asks its store for no more than an event needs, however long ago the referral was."""

from collections import Counter

from benchmarks.earnings_growth import END_MS, contribution, terms
from pipeline.domain.terms import Catalogue, Program
from pipeline.state.memory import MemoryStore
from pipeline.state.store import WriteBatch
from pipeline.steps.earnings import EarningsStep

REFERRALS = 30
BEFORE_MS = END_MS - REFERRALS * 10_000


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()

    def get(self, table: str, key: bytes) -> bytes | None:
        self.reads[table] += 1
        return super().get(table, key)


def restarted(store: MemoryStore) -> EarningsStep:
    return EarningsStep(store, Catalogue.of([Program((terms("grown"),))]))


def take(step: EarningsStep, store: MemoryStore, *numbers: int, refunded: bool = False) -> list[tuple[object, ...]]:
    batch = WriteBatch()
    step.stage(
        [
            contribution("grown", number, BEFORE_MS + number * 10_000, END_MS + number if refunded else None)
            for number in numbers
        ],
        batch,
    )
    store.write(batch)
    rows = []
    for settled in step.settle():
        store.write(settled.notes)
        rows += settled.rows.tables.get("ledger_entries", [])
        store.write(settled.batch)
    return rows


def test_a_refund_reads_what_came_of_its_order_once():
    store = CountingStore()
    take(restarted(store), store, *range(REFERRALS))
    step = restarted(store)
    step.unsettled()
    store.reads.clear()
    rows = take(step, store, 3, 17, refunded=True)
    assert sorted(row[1] for row in rows) == sorted(2 * ["clawback", "customer_reward_clawback", "bonus_clawback"])
    assert store.reads == {"timeline": 2}


def test_it_gives_the_same_as_with_everything_in_memory():
    stores = MemoryStore(), MemoryStore()
    results = []
    for store, starts_again in zip(stores, (False, True), strict=True):
        step = restarted(store)
        take(step, store, *range(REFERRALS))
        results.append(take(restarted(store) if starts_again else step, store, *range(5), refunded=True))
    assert results[0] == results[1]
