"""sv-train-keyword and sv-detect-keyword as commands: from recordings to segments that other commands take."""

from __future__ import annotations

import io
import json
import wave

import numpy as np
import pytest
from click.testing import CliRunner
from keyword_sounds import RATE, TOML, clip, write_recordings

from sv_toolkit.cli import detect_keyword, extract_fbank, train_keyword, validate_data
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.tables import read_table, write_table
from sv_toolkit.keyword.spotting import read_detections

CONFIG = TOML.format(fbank=f"sample_rate = {RATE}\n", detector="")


def run(command, *arguments, code=0, stdin=None):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], prog_name="sv", input=stdin)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Data directories, a configuration and a trained detector."""
    root, rng = tmp_path_factory.mktemp("keyword"), np.random.default_rng(5)
    for name, speakers in (("train", range(8)), ("test", range(8, 11))):
        words = {f"s{speaker}-{word}{take}": word for speaker in speakers for word in ("up", "down") for take in range(2)}
        write_recordings(root / name, {key: clip(word, rng)[0] for key, word in words.items()}, text=words)
    write_recordings(root / "background", {f"b{number}-flat": clip("flat", rng, 2.0)[0] for number in range(8)})
    (root / "keyword.toml").write_text(CONFIG)
    words = (root / "train", root / "exp", "--background", root / "background", "--held-out", root / "test")
    result = run(train_keyword.command, *words, "--config", root / "keyword.toml")
    assert "detector of 32 recordings" in result.stderr
    return root


def test_segments_are_a_data_directory_for_the_other_commands(root, tmp_path):
    run(detect_keyword.command, root / "exp", root / "test", tmp_path / "out", "--threshold", "0.5", "--nj", 2)
    run(validate_data.command, tmp_path / "out")
    rows = read_detections(tmp_path / "out")
    assert len(rows) >= 11
    assert all(row.word in row.utterance and row.confidence >= 0.5 for row in rows)
    assert set(read_table(tmp_path / "out" / "segments")) == {row.segment for row in rows}
    run(extract_fbank.command, tmp_path / "out", "--sample-rate", RATE, "--num-mel-bins", 12, "--nj", 1)
    reader = ScpReader(tmp_path / "out" / "feats.scp")
    assert all(reader.shape(row.segment)[0] == pytest.approx(78, abs=1) for row in rows)


def test_the_number_of_jobs_changes_nothing_and_finished_work_is_left_alone(root, tmp_path):
    for nj in (1, 2):
        run(detect_keyword.command, root / "exp", root / "test", tmp_path / str(nj), "--nj", nj)
    for name in ("segments", "detections.tsv", "utt2spk"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    stamp = (tmp_path / "1" / "segments").stat().st_mtime_ns
    run(detect_keyword.command, root / "exp", root / "test", tmp_path / "1")
    assert (tmp_path / "1" / "segments").stat().st_mtime_ns == stamp
    again = run(detect_keyword.command, root / "exp", root / "test", tmp_path / "1", "--threshold", "0.9", code=1)
    assert "--overwrite" in again.stderr


def test_best_gives_one_segment_an_utterance_under_its_own_id(root, tmp_path):
    run(detect_keyword.command, root / "exp", root / "test", tmp_path / "out", "--best", "--word", "up", "--nj", 1)
    segments = read_table(tmp_path / "out" / "segments")
    assert {key for key in read_table(root / "test" / "utt2spk") if "up" in key} <= set(segments)
    assert all(value.split()[0] == key for key, value in segments.items())


def test_a_detection_within_a_segment_is_placed_in_its_recording(root, tmp_path):
    samples, begin = clip("up", np.random.default_rng(8))
    quiet = np.random.default_rng(1).normal(0, 0.002, 3 * RATE).astype(np.float32)
    folder = write_recordings(tmp_path / "long", {"s9-long": np.concatenate([quiet, samples])})
    write_table(folder / "segments", {"s9-cut": "s9-long 2.5 4.0"})
    write_table(folder / "utt2spk", {"s9-cut": "s9"})
    run(detect_keyword.command, root / "exp", folder, tmp_path / "out", "--best", "--nj", 1)
    recording, start, end = read_table(tmp_path / "out" / "segments")["s9-cut"].split()
    assert recording == "s9-long"
    assert float(start) <= 3 + begin + 0.1 < float(end)


def wav_bytes(samples):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(samples * 32768).astype("<i2").tobytes())
    return stream.getvalue()


def test_a_stream_gives_the_detections_of_the_file(root, tmp_path):
    rng = np.random.default_rng(12)
    samples = np.concatenate([clip(word, rng, 2.0)[0] for word in ("up", "flat", "down", "up")])
    content = wav_bytes(samples)
    folder = write_recordings(tmp_path / "data", {"s1-all": samples})
    (folder / "s1-all.wav").write_bytes(content)
    run(detect_keyword.command, root / "exp", folder, tmp_path / "out", "--nj", 1)
    rows = read_detections(tmp_path / "out")
    for stdin in (content, content[44:]):
        lines = run(detect_keyword.command, root / "exp", "--stream", "--json", stdin=stdin).stdout.splitlines()
        found = [json.loads(line) for line in lines]
        assert [(one["word"], round(one["confidence"], 6), round(one["start"], 3)) for one in found] == [
            (row.word, row.confidence, row.start) for row in rows
        ]
    assert len(rows) >= 3


def test_mistakes_are_named(root, tmp_path):
    test = root / "test"
    assert "OUT" in run(detect_keyword.command, root / "exp", test, code=2).stderr
    assert "no DATA" in run(detect_keyword.command, root / "exp", test, "--stream", code=2, stdin=b"").stderr
    assert "--best" in run(detect_keyword.command, root / "exp", "--stream", "--best", code=2, stdin=b"").stderr
    assert "empty" in run(detect_keyword.command, root / "exp", "--stream", code=1, stdin=b"").stderr
    assert "up" in run(detect_keyword.command, root / "exp", test, tmp_path / "out", "--word", "left", code=1).stderr
    assert "recordings" in run(detect_keyword.command, root / "exp", test, test, code=1).stderr
    shared = run(train_keyword.command, test, tmp_path / "exp", "--background", root / "background", "--held-out", test, code=1)
    assert "held out" in shared.stderr
    unknown = run(train_keyword.command, test, tmp_path / "exp", "--background", test, "--set", "training.step=5", code=1)
    assert "did you mean 'steps'" in unknown.stderr
