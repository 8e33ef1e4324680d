"""The embedded edition: files in, outcomes in a ClickHouse engine of the same process."""
