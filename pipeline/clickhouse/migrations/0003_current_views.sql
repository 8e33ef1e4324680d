-- What stands: the newest version of every row, without those withdrawn (FINAL leaves out is_deleted = 1).

CREATE OR REPLACE VIEW current_attributions AS SELECT
    brand_id, conversion_type, customer_id, conversion_id, partner_id, program_id, order_id, link_id, click_id,
    share_bps, model, converted_at, terms_version, explanation, as_of
FROM attributions FINAL;

CREATE OR REPLACE VIEW current_referrals AS SELECT
    program_id, customer_id, partner_id, status, reason, signed_up_at, qualified_at, reversed_at, terms_version,
    as_of
FROM referrals FINAL;

CREATE OR REPLACE VIEW current_ledger_entries AS SELECT
    entry_id, kind, program_id, partner_id, customer_id, order_id, amount_minor, currency, occurred_at, payable_at,
    cause_event_id, terms_version, as_of
FROM ledger_entries FINAL;

CREATE OR REPLACE VIEW current_milestones AS SELECT
    program_id, milestone_id, scope_key, period, status, count, threshold, reached_at, revoked_at, terms_version,
    as_of
FROM milestones FINAL;

CREATE OR REPLACE VIEW current_dead_letters AS SELECT
    source, position, reason, raw
FROM dead_letters FINAL;

CREATE OR REPLACE VIEW current_late_events AS SELECT
    source, position, reason, raw
FROM late_events FINAL;

CREATE OR REPLACE VIEW current_clicks AS SELECT
    event_id, occurred_at, brand_id, program_id, partner_id, visitor_id, link_id, landing_url, referrer_url,
    campaign, variant, ip, user_agent, country
FROM clicks FINAL;

CREATE OR REPLACE VIEW current_sign_ups AS SELECT
    event_id, occurred_at, brand_id, customer_id, visitor_id, click_id, coupon_code, email_sha256, ip, user_agent,
    country
FROM sign_ups FINAL;

CREATE OR REPLACE VIEW current_orders AS SELECT
    event_id, occurred_at, brand_id, order_id, customer_id, amount_minor, currency, visitor_id, click_id,
    coupon_code, ip, payment_fingerprint
FROM orders FINAL;

CREATE OR REPLACE VIEW current_refunds AS SELECT
    event_id, occurred_at, brand_id, order_id, customer_id, amount_minor, currency, reason, matched
FROM refunds FINAL;
