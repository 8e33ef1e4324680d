"""An independent, brute-force reading of the contract, which shares no code with `pipeline`."""
