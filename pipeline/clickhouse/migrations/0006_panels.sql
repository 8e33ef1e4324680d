-- Copies for reading, so that a panel of a partner reads that partner's rows alone, already cut to what a panel needs.
-- Each is filled by a materialized view as rows are inserted, and is a set of upserts itself: its ORDER BY key holds the
-- whole identity of a row and nothing that a later version may change, so a repeated row falls on itself and a correction
-- replaces what it corrects. Nothing is summed on insertion.
-- Every statement may run again: what is copied twice is the same row.

-- The clicks by partner. A click's program, partner and time are not part of its identity, but change only where copies
-- of it differ, and then a row of a higher version is written. Such clicks are few: they are left out of this set, and
-- kept, whole, in corrected_clicks. A week is a partition, so that weeks that are over are one merged part each and
-- need no work on reading; sixty at most, whatever times events name.
CREATE TABLE IF NOT EXISTS clicks_by_partner
(
    program_id LowCardinality(String),
    partner_id LowCardinality(String),
    occurred_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    click UInt64
)
ENGINE = ReplacingMergeTree
PARTITION BY toRelativeWeekNum(occurred_at) % 60
ORDER BY (program_id, partner_id, occurred_at, click)
SETTINGS min_age_to_force_merge_seconds = 1800, min_age_to_force_merge_on_partition_only = 1;

CREATE TABLE IF NOT EXISTS corrected_clicks
(
    click UInt64,
    program_id LowCardinality(String),
    partner_id LowCardinality(String),
    occurred_at DateTime64(3, 'UTC'),
    version UInt64,
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY click;

CREATE MATERIALIZED VIEW IF NOT EXISTS clicks_by_partner_feed TO clicks_by_partner AS
SELECT program_id, partner_id, occurred_at, sipHash64(brand_id, visitor_id, event_id) AS click
FROM clicks
WHERE version = 1 AND is_deleted = 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS corrected_clicks_feed TO corrected_clicks AS
SELECT
    sipHash64(brand_id, visitor_id, event_id) AS click, program_id, partner_id, occurred_at, version, is_deleted
FROM clicks
WHERE version > 1 OR is_deleted = 1;

-- Who was credited, by partner: an attribution is identified by its conversion and its partner, and what a panel wants
-- of its explanation is taken out of it once. A program is not part of the identity, so it is no part of the key either.
CREATE TABLE IF NOT EXISTS credits_by_partner
(
    partner_id LowCardinality(String),
    conversion UInt128,
    program_id LowCardinality(String),
    conversion_type LowCardinality(String),
    conversion_id String,
    buyer UInt64,
    customer String,
    purchase UInt64,
    bought UInt128,
    share_bps UInt16,
    model LowCardinality(String),
    converted_at DateTime64(3, 'UTC'),
    terms_version Int64,
    link_id String,
    touched_by LowCardinality(String),
    coupon_code String,
    touched_at Nullable(DateTime64(3, 'UTC')),
    window_ends_at Nullable(DateTime64(3, 'UTC')),
    candidates UInt16,
    version UInt64,
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (partner_id, conversion);

-- Buyer: a customer of a brand. Purchase: an order, as the ledger of a program knows it; bought: as its brand does. These
-- are hashes, to count and to join by.
CREATE MATERIALIZED VIEW IF NOT EXISTS credits_by_partner_feed TO credits_by_partner AS
WITH
    JSONExtract(explanation, 'touchpoints',
        'Array(Tuple(kind String, code String, at Int64, partner_id String, program_id String, verdict String,
        window_ends_at Nullable(Int64)))') AS touchpoints,
    arrayFirst(
        t -> t.partner_id = attributions.partner_id AND t.program_id = attributions.program_id
            AND t.verdict = 'credited', touchpoints
    ) AS touchpoint
SELECT
    partner_id,
    reinterpretAsUInt128(sipHash128(brand_id, conversion_type, customer_id, conversion_id)) AS conversion,
    program_id, conversion_type, conversion_id, sipHash64(brand_id, customer_id) AS buyer,
    substring(lower(hex(SHA256(concat(brand_id, ' ', customer_id)))), 1, 12) AS customer,
    sipHash64(program_id, customer_id, order_id) AS purchase,
    reinterpretAsUInt128(sipHash128(brand_id, customer_id, order_id)) AS bought,
    share_bps, model, converted_at, terms_version, link_id,
    touchpoint.kind AS touched_by,
    touchpoint.code AS coupon_code,
    if(touchpoint.at = 0, NULL, fromUnixTimestamp64Milli(touchpoint.at, 'UTC')) AS touched_at,
    fromUnixTimestamp64Milli(touchpoint.window_ends_at, 'UTC') AS window_ends_at,
    arrayCount(t -> t.program_id = attributions.program_id AND t.verdict IN ('credited', 'outranked'), touchpoints)
        AS candidates,
    version, is_deleted
FROM attributions
WHERE partner_id != '';

-- Whose touchpoints a conversion passed over: of each partner without credit its latest one, as all of the
-- conversion's rows tell it. Orders that inherit their sign-up's credit are left out: the sign-up tells.
CREATE TABLE IF NOT EXISTS passed_over
(
    conversion UInt128,
    partner_id LowCardinality(String),
    program_id LowCardinality(String),
    model LowCardinality(String),
    conversion_type LowCardinality(String),
    conversion_id String,
    customer String,
    converted_at DateTime64(3, 'UTC'),
    missed Nested
    (
        program_id LowCardinality(String),
        partner_id LowCardinality(String),
        verdict LowCardinality(String),
        kind LowCardinality(String),
        code String,
        at DateTime64(3, 'UTC'),
        window_ended_at Nullable(DateTime64(3, 'UTC'))
    ),
    version UInt64,
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (conversion, partner_id);

CREATE MATERIALIZED VIEW IF NOT EXISTS passed_over_feed TO passed_over AS
WITH
    JSONExtract(explanation, 'touchpoints',
        'Array(Tuple(kind String, code String, at Int64, partner_id String, program_id String, verdict String,
        window_ends_at Nullable(Int64)))') AS touchpoints,
    if(model = 'inherited', [], arrayFilter(t -> t.verdict != 'not_contending' OR conversion_type = 'order', touchpoints))
        AS considered,
    arrayMap(t -> (t.program_id, t.partner_id), considered) AS whose,
    arrayMap(t -> (t.program_id, t.partner_id), arrayFilter(t -> t.verdict = 'credited', considered)) AS credited,
    arrayFilter((t, w, n) -> n = 1 AND NOT has(credited, w), considered, whose, arrayEnumerateUniq(whose)) AS latest
SELECT
    reinterpretAsUInt128(sipHash128(brand_id, conversion_type, customer_id, conversion_id)) AS conversion,
    partner_id, program_id, model, conversion_type, conversion_id,
    substring(lower(hex(SHA256(concat(brand_id, ' ', customer_id)))), 1, 12) AS customer,
    converted_at,
    arrayMap(t -> t.program_id, latest) AS `missed.program_id`,
    arrayMap(t -> t.partner_id, latest) AS `missed.partner_id`,
    arrayMap(t -> t.verdict, latest) AS `missed.verdict`,
    arrayMap(t -> t.kind, latest) AS `missed.kind`,
    arrayMap(t -> t.code, latest) AS `missed.code`,
    arrayMap(t -> fromUnixTimestamp64Milli(t.at, 'UTC'), latest) AS `missed.at`,
    arrayMap(t -> fromUnixTimestamp64Milli(t.window_ends_at, 'UTC'), latest) AS `missed.window_ended_at`,
    version, is_deleted
FROM attributions;

-- The ledger by partner: an entry's program, kind, partner, customer and order are what its id is made of.
CREATE TABLE IF NOT EXISTS ledger_by_partner
(
    program_id LowCardinality(String),
    partner_id LowCardinality(String),
    entry UInt128,
    kind LowCardinality(String),
    purchase UInt64,
    buyer UInt64,
    amount_minor Int64,
    currency LowCardinality(String),
    occurred_at DateTime64(3, 'UTC'),
    payable_at DateTime64(3, 'UTC'),
    terms_version Int64,
    as_of DateTime64(3, 'UTC'),
    version UInt64,
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (program_id, partner_id, entry);

CREATE MATERIALIZED VIEW IF NOT EXISTS ledger_by_partner_feed TO ledger_by_partner AS
SELECT
    program_id, partner_id, reinterpretAsUInt128(sipHash128(entry_id)) AS entry, kind,
    sipHash64(program_id, customer_id, order_id) AS purchase, sipHash64(customer_id) AS buyer, amount_minor, currency, occurred_at, payable_at, terms_version, as_of,
    version, is_deleted
FROM ledger_entries
WHERE kind NOT IN ('customer_reward', 'customer_reward_clawback');

-- What each order came to, and what was refunded of it, without the rest of their rows.
CREATE TABLE IF NOT EXISTS order_amounts
(
    conversion UInt128,
    amount_minor Int64,
    version UInt64,
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY conversion;

CREATE MATERIALIZED VIEW IF NOT EXISTS order_amounts_feed TO order_amounts AS
SELECT
    reinterpretAsUInt128(sipHash128(brand_id, 'order', customer_id, event_id)) AS conversion, amount_minor, version,
    is_deleted
FROM orders;

CREATE TABLE IF NOT EXISTS refund_amounts
(
    refund UInt128,
    bought UInt128,
    amount_minor Int64,
    version UInt64,
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY refund;

CREATE MATERIALIZED VIEW IF NOT EXISTS refund_amounts_feed TO refund_amounts AS
SELECT
    reinterpretAsUInt128(sipHash128(brand_id, customer_id, event_id)) AS refund,
    reinterpretAsUInt128(sipHash128(brand_id, customer_id, order_id)) AS bought, amount_minor, version, is_deleted
FROM refunds;

-- The terms of every program, as the latest run or worker was given them: what targets, rates and names panels speak of.
-- Coupon codes and partners' own accounts are left out.
CREATE TABLE IF NOT EXISTS program_terms
(
    program_id LowCardinality(String),
    terms_version Int64,
    brand_id LowCardinality(String),
    currency LowCardinality(String),
    currency_digits UInt8,
    time_zone LowCardinality(String),
    effective_from DateTime64(3, 'UTC'),
    content String,
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (program_id, terms_version);

CREATE OR REPLACE VIEW current_program_terms AS
SELECT program_id, terms_version, brand_id, currency, currency_digits, time_zone, effective_from, content
FROM program_terms FINAL;

-- What is in the tables already. A row that is written again is the same row; written again, it is fed to the copies
-- (unless a replicated table remembers the block, hence the settings).
INSERT INTO clicks_by_partner
SELECT program_id, partner_id, occurred_at, sipHash64(brand_id, visitor_id, event_id)
FROM clicks
WHERE version = 1 AND is_deleted = 0;

INSERT INTO corrected_clicks
SELECT
    sipHash64(brand_id, visitor_id, event_id), program_id, partner_id, occurred_at, version, is_deleted
FROM clicks
WHERE version > 1 OR is_deleted = 1;

INSERT INTO attributions SELECT * FROM attributions SETTINGS deduplicate_insert = 'disable', deduplicate_insert_select = 'disable';

INSERT INTO ledger_entries SELECT * FROM ledger_entries SETTINGS deduplicate_insert = 'disable', deduplicate_insert_select = 'disable';

INSERT INTO orders SELECT * FROM orders SETTINGS deduplicate_insert = 'disable', deduplicate_insert_select = 'disable';

INSERT INTO refunds SELECT * FROM refunds SETTINGS deduplicate_insert = 'disable', deduplicate_insert_select = 'disable';

-- The views that panels read (pipeline/pages/panels.py), over those copies.

CREATE OR REPLACE VIEW program_brands AS
SELECT DISTINCT program_id, brand_id
FROM program_terms FINAL;

CREATE OR REPLACE VIEW partner_clicks AS
SELECT program_id, partner_id, occurred_at
FROM clicks_by_partner FINAL
WHERE click NOT IN (SELECT click FROM corrected_clicks)
UNION ALL
SELECT program_id, partner_id, occurred_at
FROM corrected_clicks FINAL;

-- A partner's share of a conversion, and the partner's latest touchpoint that earned it.
CREATE OR REPLACE VIEW partner_credits AS
SELECT
    program_id, partner_id, conversion, conversion_type, conversion_id, buyer, customer, share_bps, model, converted_at,
    terms_version, link_id, purchase, touched_by, coupon_code, touched_at, window_ends_at, candidates
FROM credits_by_partner FINAL;

-- The orders among them: what each came to, what was refunded of it, what it earned, and when its customer signed up.
CREATE OR REPLACE VIEW partner_orders AS
SELECT
    c.program_id AS program_id, c.partner_id AS partner_id, c.conversion AS conversion, c.buyer AS buyer,
    c.share_bps AS share_bps, c.converted_at AS converted_at, o.amount_minor AS order_minor,
    toInt64(least(f.refunded_minor, o.amount_minor)) AS refunded_minor
FROM
(
    SELECT program_id, partner_id, conversion, buyer, bought, share_bps, converted_at
    FROM credits_by_partner FINAL
    WHERE conversion_type = 'order'
) AS c
LEFT JOIN (SELECT conversion, amount_minor FROM order_amounts FINAL) AS o ON o.conversion = c.conversion
LEFT JOIN
(
    SELECT bought, sum(toInt128(amount_minor)) AS refunded_minor FROM refund_amounts FINAL GROUP BY bought
) AS f ON f.bought = c.bought;

-- Conversions that a partner touched without credit, and why: the verdict on its latest touchpoint.
CREATE OR REPLACE VIEW partner_missed AS
SELECT
    program_id, partner_id, any(type) AS conversion_type, any(id) AS conversion_id, any(who) AS customer,
    any(converted) AS converted_at, any(credit_model) AS model,
    multiIf(any(winner) = '', 'nobody', any(winner) = program_id, 'another_partner', 'another_program') AS credited_to,
    any(word) AS verdict, any(kind) AS touched_by, any(code) AS coupon_code, any(at) AS touched_at,
    any(edge) AS window_ended_at
FROM
(
    SELECT
        conversion, m_program AS program_id, m_partner AS partner_id, p.program_id AS winner, model AS credit_model,
        conversion_type AS type, conversion_id AS id, customer AS who, converted_at AS converted,
        m_verdict AS word, m_kind AS kind, m_code AS code, m_at AS at, m_edge AS edge
    FROM (SELECT * FROM passed_over FINAL) AS p
    ARRAY JOIN
        missed.program_id AS m_program, missed.partner_id AS m_partner, missed.verdict AS m_verdict,
        missed.kind AS m_kind, missed.code AS m_code, missed.at AS m_at, missed.window_ended_at AS m_edge
)
GROUP BY conversion, program_id, partner_id;

CREATE OR REPLACE VIEW partner_referrals AS
SELECT program_id, partner_id, status, reason, signed_up_at, qualified_at, reversed_at, terms_version
FROM referrals FINAL;

-- What a partner is owed, entry by entry. (Rewards are the customers'.)
CREATE OR REPLACE VIEW partner_ledger AS
SELECT
    program_id, partner_id, kind, purchase, amount_minor, currency, occurred_at, payable_at, terms_version, as_of
FROM ledger_by_partner FINAL;

-- Bonus slots that are taken now: of each partner, and ('*') of the program as a whole. A referral that left its slot and
-- came back holds the later one.
CREATE OR REPLACE VIEW partner_bonus_slots AS
SELECT program_id, arrayJoin([partner, '*']) AS partner_id, terms_version, bonus_minor, taken_at
FROM
(
    SELECT
        program_id, partner_id AS partner, terms_version, abs(amount_minor) AS bonus_minor,
        maxIf(occurred_at, kind = 'bonus') AS taken_at
    FROM ledger_by_partner FINAL
    WHERE kind IN ('bonus', 'bonus_clawback')
    GROUP BY program_id, partner, buyer, terms_version, bonus_minor
    HAVING sum(amount_minor) > 0
);

-- The terms, each version in force from effective_from until before effective_until. It holds what is one partner's alone:
-- nobody but the views below reads it.
CREATE OR REPLACE VIEW terms_in_force AS
SELECT
    program_id, '*' AS partner_id, brand_id, terms_version, currency, currency_digits, time_zone, effective_from,
    if(next_from <= effective_from, toDateTime64('2299-12-31 00:00:00', 3, 'UTC'), next_from) AS effective_until,
    content
FROM
(
    SELECT *, min(effective_from) OVER
        (
            PARTITION BY program_id ORDER BY terms_version ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING
        ) AS next_from
    FROM (SELECT * FROM program_terms FINAL)
);

-- What a program is, one row a version, for every partner ('*'), with how far the live pipeline has come (is_live: 0 where
-- only files were run).
CREATE OR REPLACE VIEW partner_programs AS
SELECT
    program_id, partner_id, brand_id, terms_version, currency, currency_digits, time_zone, effective_from,
    effective_until, p.watermark AS watermark, p.final_through AS final_through, p.is_live AS is_live
FROM terms_in_force
CROSS JOIN
(
    SELECT max(watermark) AS watermark, max(final_through) AS final_through, count() > 0 AS is_live
    FROM pipeline_progress FINAL
) AS p;

-- Every partner that a version of the terms lists, as the latest of them does.
CREATE OR REPLACE VIEW partner_names AS
SELECT
    program_id, each.id AS partner_id, argMax(each.name, terms_version) AS name,
    argMax(each.segment, terms_version) AS segment
FROM
(
    SELECT
        program_id, terms_version,
        arrayJoin(JSONExtract(content, 'partners', 'Array(Tuple(id String, name String, segment String))')) AS each
    FROM program_terms FINAL
)
GROUP BY program_id, partner_id;

-- What an order earns from so many qualified customers on; the program's own rate is the tier from 0.
CREATE OR REPLACE VIEW partner_tiers AS
SELECT
    program_id, partner_id, terms_version, effective_from, effective_until, period, commission_kind, currency,
    currency_digits, each.from_referrals AS from_referrals, each.rate_bps AS rate_bps,
    each.amount_minor AS amount_minor
FROM
(
    SELECT
        *, JSONExtractString(content, 'tier_period') AS period,
        JSONExtractString(content, 'commission_kind') AS commission_kind,
        arrayJoin(JSONExtract(content, 'tiers',
            'Array(Tuple(from_referrals Int64, rate_bps Int64, amount_minor Int64))')) AS each
    FROM terms_in_force
);

-- Boosts, as the latest version that has them says; of one partner, or ('*') of everyone.
CREATE OR REPLACE VIEW partner_boosts AS
SELECT
    program_id, each.partner_id AS partner_id, each.id AS boost_id,
    fromUnixTimestamp64Milli(argMax(each.from_ms, terms_version), 'UTC') AS begins_at,
    fromUnixTimestamp64Milli(argMax(each.until_ms, terms_version), 'UTC') AS ends_at,
    argMax(each.multiplier_bps, terms_version) AS multiplier_bps
FROM
(
    SELECT
        program_id, terms_version,
        arrayJoin(JSONExtract(content, 'boosts', 'Array(Tuple(id String, partner_id String, from_ms Int64,
            until_ms Int64, multiplier_bps Int64))')) AS each
    FROM program_terms FINAL
)
GROUP BY program_id, partner_id, boost_id;

CREATE OR REPLACE VIEW partner_bonuses AS
SELECT
    program_id, partner_id, terms_version, effective_from, effective_until, each.id AS bonus_id,
    each.first AS places, each.period AS period, each.scope AS scope, each.amount_minor AS amount_minor
FROM
(
    SELECT
        *, arrayJoin(JSONExtract(content, 'bonuses',
            'Array(Tuple(id String, first Int64, period String, scope String, amount_minor Int64))')) AS each
    FROM terms_in_force
);

-- What each milestone asks for: one row a version and scope; a joint one appears once for each member.
CREATE OR REPLACE VIEW partner_goals AS
SELECT
    program_id, arrayJoin(splitByChar('+', key)) AS partner_id, terms_version, effective_from, effective_until,
    currency, currency_digits, each.id AS milestone_id, key AS scope_key, each.scope AS scope, each.metric AS metric,
    each.threshold AS threshold, each.period AS period, each.award_minor AS award_minor
FROM
(
    SELECT
        *, arrayJoin(JSONExtract(content, 'milestones', 'Array(Tuple(id String, metric String, threshold Int64,
            period String, scope String, scope_keys Array(String), award_minor Int64))')) AS each,
        arrayJoin(each.scope_keys) AS key
    FROM terms_in_force
);
