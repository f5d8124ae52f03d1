"""Files read side by side: the same numbers as read whole, for blocks of any size; other orders are refused."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.data import columns
from sv_toolkit.data.score_stream import read_score_chunks
from sv_toolkit.data.trials import read_scores, read_trials
from sv_toolkit.errors import DataError


@pytest.fixture
def files(tmp_path, rng):
    pairs = [(f"e{i}", f"t{j:03d}") for i in range(20) for j in range(40)]
    labels = ["target" if rng.random() < 0.2 else "nontarget" for _ in pairs]
    (tmp_path / "trials").write_text("".join(f"{a} {b} {label}\n" for (a, b), label in zip(pairs, labels)))
    (tmp_path / "voxceleb").write_text("".join(f"{int(label == 'target')} {a} {b}\n" for (a, b), label in zip(pairs, labels)))
    (tmp_path / "scores").write_text("".join(f"{a} {b} {rng.normal():.9f}\n" for a, b in pairs))
    return tmp_path


@pytest.mark.parametrize("block", [64, 1000, 1 << 22])
@pytest.mark.parametrize(("name", "format"), [("trials", "auto"), ("voxceleb", "voxceleb")])
def test_chunks_put_together_are_the_files(files, monkeypatch, block, name, format):
    monkeypatch.setattr(columns, "BLOCK", block)
    chunks = list(read_score_chunks(files / name, files / "scores", format))
    trials = read_trials(files / name, format)
    assert np.array_equal(np.concatenate([scores for scores, _ in chunks]), read_scores(files / "scores", trials))
    assert np.array_equal(np.concatenate([is_target for _, is_target in chunks]), trials.is_target)
    assert len(chunks) > 1 or block > 1000


def swapped(lines):
    return [*lines[:4], lines[5], lines[4], *lines[6:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swapped, "scores:5: the pair is e0 t005, but .*trials:5 has e0 t004; .* same order"),
        (lambda lines: lines[:-3], "scores: ends after 797 lines, .*trials goes on"),
        (lambda lines: [*lines, "e99 t000 1.0"], "trials: ends after 800 lines, .*scores goes on"),
        (lambda lines: [*lines[:700], "e17 t020 nan", *lines[701:]], "scores:701: a score must be a finite number"),
        (lambda lines: [], "empty"),
    ],
    ids=["other order", "scores end", "trials end", "NaN", "no scores"],
)
@pytest.mark.parametrize("block", [500, 1 << 22])
def test_files_that_do_not_fit_are_refused(files, monkeypatch, change, message, block):
    monkeypatch.setattr(columns, "BLOCK", block)
    lines = change((files / "scores").read_text().splitlines())
    (files / "scores").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(DataError, match=message):
        list(read_score_chunks(files / "trials", files / "scores"))


def test_labels_are_needed(files):
    (files / "trials").write_text("e0 t000\n")
    with pytest.raises(DataError, match="trials:1: no label"):
        list(read_score_chunks(files / "trials", files / "scores"))
