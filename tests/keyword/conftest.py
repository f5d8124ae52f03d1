"""Data directories of two words, and a small detector of them."""

from __future__ import annotations

import numpy as np
import pytest
from keyword_sounds import RATE, SMALL, clip, write_recordings


@pytest.fixture(scope="session")
def keyword_data(tmp_path_factory):
    """Folders `train` and `test` of the words up and down, `background` of flat tones and noise."""
    root, rng = tmp_path_factory.mktemp("keyword data"), np.random.default_rng(3)
    for name, speakers in (("train", range(8)), ("test", range(8, 12))):
        words = {f"s{speaker}-{word}{take}": word for speaker in speakers for word in ("up", "down") for take in range(2)}
        write_recordings(root / name, {key: clip(word, rng)[0] for key, word in words.items()}, utt2keyword=words)
    background = {f"b{number}-flat": clip("flat", rng, 2.0)[0] for number in range(10)}
    write_recordings(root / "background", background)
    write_recordings(root / "noise", {f"n{number}-white": rng.normal(0, 0.05, 2 * RATE).astype(np.float32) for number in range(2)})
    return root


@pytest.fixture(scope="session")
def trained(keyword_data, tmp_path_factory):
    """The folder of a detector of up and down."""
    from sv_toolkit.extraction.pipeline import AudioOptions
    from sv_toolkit.keyword.training import KeywordData, TrainingOptions, train_keyword

    exp = tmp_path_factory.mktemp("exp") / "keyword"
    root = keyword_data
    data = KeywordData(root / "train", (root / "background",), (root / "noise",), (root / "test",))
    train_keyword(data, exp, SMALL, AudioOptions(), TrainingOptions())
    return exp
