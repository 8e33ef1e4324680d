-- What came in: the admitted events, and what was not admitted, with its raw bytes.
-- A row is an upsert: of the rows with one ORDER BY key the one with the highest version stands, unless it is withdrawn.
-- Different bytes under one source position are different dead letters: hence raw_hash.

CREATE TABLE IF NOT EXISTS clicks
(
    event_id String,
    occurred_at DateTime64(3, 'UTC'),
    brand_id LowCardinality(String),
    program_id LowCardinality(String),
    partner_id LowCardinality(String),
    visitor_id String,
    link_id String,
    landing_url String,
    referrer_url String,
    campaign LowCardinality(String),
    variant LowCardinality(String),
    ip String,
    user_agent String,
    country LowCardinality(String),
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (brand_id, visitor_id, event_id);

CREATE TABLE IF NOT EXISTS sign_ups
(
    event_id String,
    occurred_at DateTime64(3, 'UTC'),
    brand_id LowCardinality(String),
    customer_id String,
    visitor_id String,
    click_id String,
    coupon_code String,
    email_sha256 String,
    ip String,
    user_agent String,
    country LowCardinality(String),
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (brand_id, customer_id, event_id);

CREATE TABLE IF NOT EXISTS orders
(
    event_id String,
    occurred_at DateTime64(3, 'UTC'),
    brand_id LowCardinality(String),
    order_id String,
    customer_id String,
    amount_minor Int64,
    currency LowCardinality(String),
    visitor_id String,
    click_id String,
    coupon_code String,
    ip String,
    payment_fingerprint String,
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (brand_id, customer_id, event_id);

CREATE TABLE IF NOT EXISTS refunds
(
    event_id String,
    occurred_at DateTime64(3, 'UTC'),
    brand_id LowCardinality(String),
    order_id String,
    customer_id String,
    amount_minor Int64,
    currency LowCardinality(String),
    reason LowCardinality(String),
    matched Bool,
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (brand_id, customer_id, event_id);

CREATE TABLE IF NOT EXISTS dead_letters
(
    source LowCardinality(String),
    position String,
    reason LowCardinality(String),
    raw String,
    raw_hash UInt64 MATERIALIZED cityHash64(raw),
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source, position, reason, raw_hash);

CREATE TABLE IF NOT EXISTS late_events
(
    source LowCardinality(String),
    position String,
    reason LowCardinality(String),
    raw String,
    raw_hash UInt64 MATERIALIZED cityHash64(raw),
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (source, position, reason, raw_hash);
