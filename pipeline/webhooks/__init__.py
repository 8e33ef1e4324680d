"""Notices to partners over HTTP: what they say, who gets them, how they are signed and delivered."""
