"""I-vectors, the classical baseline: background model, total variability, and their statistics; numpy in double precision."""
