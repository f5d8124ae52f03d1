"""Networks, a dict of architectures, and the folder a model lives in."""
