"""Composition root."""


def main() -> None:
    """Run the command line."""
