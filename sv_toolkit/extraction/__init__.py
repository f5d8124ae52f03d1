"""Pipelines: a data directory in, a data directory out, over shards that do not depend on the number of jobs."""
