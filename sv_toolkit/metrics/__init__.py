"""Numbers: pure functions of arrays."""
