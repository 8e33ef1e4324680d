-- What came out (contract.md, section 6): whole outcomes as upserts, never deltas.

CREATE TABLE IF NOT EXISTS attributions
(
    brand_id LowCardinality(String),
    conversion_type LowCardinality(String),
    customer_id String,
    conversion_id String,
    partner_id LowCardinality(String),
    program_id LowCardinality(String),
    order_id String,
    link_id String,
    click_id String,
    share_bps UInt16,
    model LowCardinality(String),
    converted_at DateTime64(3, 'UTC'),
    terms_version Int64,
    explanation String,
    as_of DateTime64(3, 'UTC'),
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (brand_id, conversion_type, customer_id, conversion_id, partner_id);

CREATE TABLE IF NOT EXISTS referrals
(
    program_id LowCardinality(String),
    customer_id String,
    partner_id LowCardinality(String),
    status LowCardinality(String),
    reason LowCardinality(String),
    signed_up_at Nullable(DateTime64(3, 'UTC')),
    qualified_at Nullable(DateTime64(3, 'UTC')),
    reversed_at Nullable(DateTime64(3, 'UTC')),
    terms_version Int64,
    as_of DateTime64(3, 'UTC'),
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (program_id, customer_id);

CREATE TABLE IF NOT EXISTS ledger_entries
(
    entry_id String,
    kind LowCardinality(String),
    program_id LowCardinality(String),
    partner_id LowCardinality(String),
    customer_id String,
    order_id String,
    amount_minor Int64,
    currency LowCardinality(String),
    occurred_at DateTime64(3, 'UTC'),
    payable_at DateTime64(3, 'UTC'),
    cause_event_id String,
    terms_version Int64,
    as_of DateTime64(3, 'UTC'),
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (entry_id);

CREATE TABLE IF NOT EXISTS milestones
(
    program_id LowCardinality(String),
    milestone_id LowCardinality(String),
    scope_key String,
    period LowCardinality(String),
    status LowCardinality(String),
    count Int128,
    threshold Int64,
    reached_at Nullable(DateTime64(3, 'UTC')),
    revoked_at Nullable(DateTime64(3, 'UTC')),
    terms_version Int64,
    as_of DateTime64(3, 'UTC'),
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (program_id, milestone_id, scope_key, period);
