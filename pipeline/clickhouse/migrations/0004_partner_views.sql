-- What a partner may see: each row names its program and its partner, and holds nothing of anybody else's and no personal
-- data (a customer is twelve hex digits of a hash). partner_id '*' is for every partner of the program.
-- All panels (pipeline/pages/panels.py) read these views by their bare names; whoever runs them narrows the views to a
-- program and its partners, so that one and the same SQL serves the offline page and a partner's own ClickHouse database.

-- The brand behind each program that has credited anything.
CREATE OR REPLACE VIEW program_brands AS
SELECT DISTINCT program_id, brand_id
FROM attributions FINAL
WHERE program_id != '';

CREATE OR REPLACE VIEW partner_clicks AS
SELECT program_id, partner_id, occurred_at, link_id, campaign, country
FROM clicks FINAL;

-- A partner's share of a conversion, what the order came to, and the partner's latest touchpoint that earned it.
CREATE OR REPLACE VIEW partner_credits AS
SELECT
    program_id, partner_id, conversion_type, conversion_id, customer, share_bps, model, converted_at, signed_up_at,
    terms_version, link_id, order_minor, toInt64(least(refunded_minor, order_minor)) AS refunded_minor,
    toInt64(earned_minor) AS earned_minor,
    touchpoint.kind AS touched_by,
    touchpoint.code AS coupon_code,
    if(touchpoint.at = 0, NULL, fromUnixTimestamp64Milli(touchpoint.at, 'UTC')) AS touched_at,
    fromUnixTimestamp64Milli(touchpoint.window_ends_at, 'UTC') AS window_ends_at,
    arrayCount(t -> t.program_id = program_id AND t.verdict IN ('credited', 'outranked'), touchpoints) AS candidates
FROM
(
    SELECT
        a.program_id AS program_id, a.partner_id AS partner_id, a.conversion_type AS conversion_type,
        a.conversion_id AS conversion_id, a.share_bps AS share_bps, a.model AS model, a.converted_at AS converted_at,
        a.terms_version AS terms_version, a.link_id AS link_id, r.signed_up_at AS signed_up_at,
        o.amount_minor AS order_minor, f.refunded_minor AS refunded_minor, l.earned_minor AS earned_minor,
        substring(lower(hex(SHA256(concat(a.brand_id, ' ', a.customer_id)))), 1, 12) AS customer,
        JSONExtract(a.explanation, 'touchpoints',
            'Array(Tuple(kind String, code String, at Int64, partner_id String, program_id String, verdict String,
            window_ends_at Nullable(Int64)))') AS touchpoints,
        arrayFirst(
            t -> t.partner_id = a.partner_id AND t.program_id = a.program_id AND t.verdict = 'credited', touchpoints
        ) AS touchpoint
    FROM (SELECT * FROM attributions FINAL WHERE partner_id != '') AS a
    LEFT JOIN (SELECT program_id, customer_id, signed_up_at FROM referrals FINAL) AS r
        ON r.program_id = a.program_id AND r.customer_id = a.customer_id
    LEFT JOIN (SELECT brand_id, customer_id, event_id, amount_minor FROM orders FINAL) AS o
        ON o.brand_id = a.brand_id AND o.customer_id = a.customer_id AND o.event_id = a.conversion_id
    LEFT JOIN
    (
        SELECT brand_id, customer_id, order_id, sum(toInt128(amount_minor)) AS refunded_minor
        FROM refunds FINAL GROUP BY brand_id, customer_id, order_id
    ) AS f
        ON f.brand_id = a.brand_id AND f.customer_id = a.customer_id AND f.order_id = a.order_id
    LEFT JOIN
    (
        SELECT program_id, partner_id, customer_id, order_id, sum(toInt128(amount_minor)) AS earned_minor
        FROM ledger_entries FINAL WHERE kind IN ('accrual', 'clawback')
        GROUP BY program_id, partner_id, customer_id, order_id
    ) AS l
        ON l.program_id = a.program_id AND l.partner_id = a.partner_id AND l.customer_id = a.customer_id
        AND l.order_id = a.order_id
);

-- Conversions that a partner touched without credit, and why: the verdict on its latest touchpoint. Orders that inherit
-- their sign-up's credit are left out: the sign-up tells.
CREATE OR REPLACE VIEW partner_missed AS
SELECT
    touchpoint.program_id AS program_id, touchpoint.partner_id AS partner_id, conversion_type, conversion_id,
    substring(lower(hex(SHA256(concat(brand_id, ' ', customer_id)))), 1, 12) AS customer,
    any(converted) AS converted_at,
    any(credit_model) AS model,
    multiIf(any(winner) = '', 'nobody', any(winner) = touchpoint.program_id, 'another_partner', 'another_program')
        AS credited_to,
    argMax(touchpoint.verdict, touchpoint.at) AS verdict,
    argMax(touchpoint.kind, touchpoint.at) AS touched_by,
    argMax(touchpoint.code, touchpoint.at) AS coupon_code,
    fromUnixTimestamp64Milli(max(touchpoint.at), 'UTC') AS touched_at,
    fromUnixTimestamp64Milli(argMax(touchpoint.window_ends_at, touchpoint.at), 'UTC') AS window_ended_at
FROM
(
    SELECT
        brand_id, conversion_type, customer_id, conversion_id, program_id AS winner, model AS credit_model,
        converted_at AS converted,
        arrayJoin(JSONExtract(explanation, 'touchpoints',
            'Array(Tuple(kind String, code String, at Int64, partner_id String, program_id String, verdict String,
            window_ends_at Nullable(Int64)))')) AS touchpoint
    FROM (SELECT * FROM attributions FINAL WHERE model != 'inherited')
    ORDER BY brand_id, conversion_type, customer_id, conversion_id
)
WHERE touchpoint.verdict != 'not_contending' OR conversion_type = 'order'
GROUP BY brand_id, conversion_type, customer_id, conversion_id, touchpoint.program_id, touchpoint.partner_id
HAVING countIf(touchpoint.verdict = 'credited') = 0;

CREATE OR REPLACE VIEW partner_referrals AS
SELECT
    r.program_id AS program_id, r.partner_id AS partner_id, status, reason, signed_up_at, qualified_at, reversed_at,
    terms_version, substring(lower(hex(SHA256(concat(b.brand_id, ' ', r.customer_id)))), 1, 12) AS customer
FROM (SELECT * FROM referrals FINAL) AS r
LEFT JOIN program_brands AS b ON b.program_id = r.program_id;

-- What a partner is owed, entry by entry. (Rewards are the customers'.)
CREATE OR REPLACE VIEW partner_ledger AS
SELECT program_id, partner_id, kind, amount_minor, currency, occurred_at, payable_at, terms_version, as_of
FROM ledger_entries FINAL
WHERE kind NOT IN ('customer_reward', 'customer_reward_clawback');

-- A joint milestone appears once for each member.
CREATE OR REPLACE VIEW partner_milestones AS
SELECT
    program_id, arrayJoin(splitByChar('+', scope_key)) AS partner_id, milestone_id, scope_key, period, status, count,
    threshold, reached_at, revoked_at, terms_version, as_of
FROM milestones FINAL;

-- Bonus slots that are taken now: of each partner, and ('*') of the program as a whole. A referral that left its slot and
-- came back holds the later one.
CREATE OR REPLACE VIEW partner_bonus_slots AS
SELECT program_id, arrayJoin([partner, '*']) AS partner_id, terms_version, bonus_minor, taken_at
FROM
(
    SELECT
        program_id, partner_id AS partner, terms_version, abs(amount_minor) AS bonus_minor,
        maxIf(occurred_at, kind = 'bonus') AS taken_at
    FROM ledger_entries FINAL
    WHERE kind IN ('bonus', 'bonus_clawback')
    GROUP BY program_id, partner, customer_id, terms_version, bonus_minor
    HAVING sum(amount_minor) > 0
);

-- Records that were not accepted, by the brand that they name ('' where none can be read).
CREATE OR REPLACE VIEW rejected_records AS
SELECT JSONExtractString(raw, 'brand_id') AS brand_id, reason, source, position
FROM dead_letters FINAL;
