"""The converters on rows made up here, in the columns of the public files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipeline.terms_files import load_catalogue

CONVERT = Path(__file__).parents[2] / "examples" / "real_data" / "convert.py"

CONTACTS = """\
mql_id,first_contact_date,landing_page_id,origin
m1,2018-02-01,page-1,social
m2,2018-03-01,page-2,unknown
m3,2018-03-02,page-2,
m4,2018-03-03,page-1,paid_search
"""
DEALS = """\
mql_id,seller_id,won_date,business_segment
m1,s1,2018-02-26 19:58:54,pet
m2,s2,2018-05-08 20:17:59,car_accessories
"""
INVOICES = """\
Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country
1,A,CUP,10,2010-03-01 10:00:00,1.25,7.0,United Kingdom
1,B,BOWL,1,2010-03-01 10:00:00,0.555,7.0,United Kingdom
2,B,BOWL,3,2010-07-01 10:00:00,2.00,7.0,United Kingdom
3,A,CUP,1,2010-07-02 10:00:00,2.00,,United Kingdom
C4,A,CUP,-2,2010-07-03 10:00:00,1.25,7.0,United Kingdom
C4,Z,JUG,-1,2010-07-03 10:00:00,3.00,7.0,United Kingdom
C5,A,CUP,-1,2010-01-01 10:00:00,4.00,7.0,United Kingdom
"""


def converted(*arguments: object) -> None:
    subprocess.run([sys.executable, str(CONVERT), *map(str, arguments)], check=True, capture_output=True)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_olist_contacts_are_clicks_and_deals_sign_ups(tmp_path: Path):
    (tmp_path / "olist_marketing_qualified_leads_dataset.csv").write_text(CONTACTS)
    (tmp_path / "olist_closed_deals_dataset.csv").write_text(DEALS)
    converted("olist", tmp_path, tmp_path / "out")
    clicks = rows(tmp_path / "out/events/clicks.jsonl")
    assert [(click["partner_id"], click["visitor_id"]) for click in clicks] == [("social", "m1"), ("paid_search", "m4")]
    assert clicks[0]["occurred_at"] == "2018-02-01T12:00:00-02:00"  # summer in São Paulo
    sign_ups = rows(tmp_path / "out/events/sign_ups.jsonl")
    assert [(each["customer_id"], each["occurred_at"]) for each in sign_ups] == [
        ("s1", "2018-02-26T19:58:54-03:00"),
        ("s2", "2018-05-08T20:17:59-03:00"),
    ]


def test_online_retail_invoices_are_orders_and_cancellations_refunds(tmp_path: Path):
    (tmp_path / "retail.csv").write_text(INVOICES)
    converted("online-retail", tmp_path / "retail.csv", tmp_path / "out")
    orders = rows(tmp_path / "out/events/orders.jsonl")
    assert [(order["order_id"], order["amount_minor"], order["occurred_at"]) for order in orders] == [
        ("1", 1306, "2010-03-01T10:00:00+00:00"),  # 12.50 + 0.555, half to even
        ("2", 600, "2010-07-01T10:00:00+01:00"),
    ]
    refunds = rows(tmp_path / "out/events/refunds.jsonl")
    assert [(refund["order_id"], refund["amount_minor"]) for refund in refunds] == [
        ("1", 250),  # the latest earlier order of cups
        ("2", 300),  # no jug was ever ordered: the latest earlier order
        ("C5", 400),  # from before the first order: nobody's
    ]
    (sign_up,) = rows(tmp_path / "out/events/sign_ups.jsonl")
    assert sign_up["occurred_at"] == "2010-03-01T09:55:00+00:00"


def test_the_made_up_clicks_depend_on_customer_and_seed_alone(tmp_path: Path):
    lines = [f"{n},A,CUP,1,2010-03-01 10:00:00,9.00,{n}.0,United Kingdom\n" for n in range(100, 160)]
    head = INVOICES.splitlines(keepends=True)[0]
    (tmp_path / "retail.csv").write_text(head + "".join(lines))
    (tmp_path / "reversed.csv").write_text(head + "".join(reversed(lines)))
    clicks = []
    for source, seed in (("retail", 1), ("reversed", 1), ("retail", 2)):
        converted("online-retail", tmp_path / f"{source}.csv", tmp_path / "out", "--seed", seed)
        clicks.append(rows(tmp_path / "out/events/clicks.jsonl"))
    assert clicks[0] == clicks[1] != clicks[2]
    assert len({click["visitor_id"] for click in clicks[0]}) < 60


def test_the_terms_are_valid():
    assert len(load_catalogue([CONVERT.parent / "terms"]).programs) == 2
