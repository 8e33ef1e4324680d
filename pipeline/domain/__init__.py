"""The pure core: events, terms, and what they imply. No I/O, no clock, no randomness."""
