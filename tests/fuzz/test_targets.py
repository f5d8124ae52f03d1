"""Every fuzzed reader reads its seeds, and refuses or reads mutations of them: one line, no other error."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from fuzz.fuzz_targets import TARGETS, mutations

NUM_MUTATIONS = 60


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_input_is_read_or_refused_in_one_line(name, tmp_path, caplog):
    target, rng = TARGETS[name], np.random.default_rng(zlib.crc32(name.encode()))
    target.prepare(tmp_path)
    seeds = target.seeds(tmp_path)
    for seed in seeds:
        assert target.try_bytes(tmp_path, seed) is None
    refused = 0
    for seed in seeds:
        refused += sum(target.try_bytes(tmp_path, data) is not None for data in mutations(seed, rng, NUM_MUTATIONS // len(seeds)))
    assert refused or name not in ("scp", "toml", "json", "model", "weights", "calibration", "store", "means", "backend", "manifest")
