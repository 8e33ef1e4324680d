"""The fact index: ordered tables of bytes with atomic writes, in memory and on disk (RocksDB)."""
