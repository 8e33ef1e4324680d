-- How far the live pipeline has come: one row a name, written by the sink and read by dashboards.
-- watermark: event time up to which everything seen is in the tables. final_through: up to which nothing can change any
-- more. Both 1970-01-01 until known.
CREATE TABLE IF NOT EXISTS pipeline_progress
(
    name String,
    watermark DateTime64(3, 'UTC'),
    final_through DateTime64(3, 'UTC'),
    updated_at DateTime64(3, 'UTC'),
    version UInt64 DEFAULT 1,
    is_deleted UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY name;

CREATE OR REPLACE VIEW current_progress AS
SELECT name, watermark, final_through, updated_at
FROM pipeline_progress FINAL;
