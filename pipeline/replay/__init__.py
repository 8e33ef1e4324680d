"""Late events and dead letters sent in again (`crosscredit replay`)."""
