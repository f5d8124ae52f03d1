"""The keyword front end of text-dependent verification: where a keyword was said (GE2E section 3; Chen, Parada, Heigold 2014)."""
