"""Bytes to admitted events: files of every supported kind, and each record judged (contract.md, section 2)."""
