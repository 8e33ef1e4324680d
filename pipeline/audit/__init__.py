"""Everything computed again from the topics, and compared with what ClickHouse shows (`crosscredit audit`)."""
