"""Results in print: numbers with their definition, their certainty and their origin."""
