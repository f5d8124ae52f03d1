"""The recipes of tables of papers from end to end, with two tiny systems on miniature corpora of buzzing voices."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = """
title = "Tiny"
seeds = [0]
[[columns]]
name = "Test"
trials = "test/trials"
[[systems]]
name = "control"
scores = "control/scores"
deterministic = true
[[systems]]
name = "first"
scores = "first/seed{seed}/test/scores"
timing = "first/seed{seed}/timing.jsonl"
[[systems]]
name = "second"
scores = "second/seed{seed}/test/scores"
timing = "second/seed{seed}/timing.jsonl"
[[claims]]
text = "The first is better"
better = "first"
worse = "second"
"""


def write_voice(path, pitch, rng):
    """Harmonics at a pitch, with a hum of their own, between silences."""
    soundfile = pytest.importorskip("soundfile")
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(12_000) / 16_000
    pitches = np.cumsum(pitch * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))) / 16_000
    voice = sum(np.sin(2 * np.pi * k * pitches) / k for k in range(1, 20)) * (np.abs(time - 0.375) < 0.3)
    soundfile.write(path, 0.1 * voice + 1e-4 * rng.standard_normal(len(time)), 16_000, subtype="PCM_16")


@pytest.fixture
def options(tmp_path, tiny_config):
    """Two systems, of which one is pre-trained, and a table of them."""
    tiny = (tmp_path / tiny_config).read_text()
    (tmp_path / "conf").mkdir()
    for name in ("first", "second", "second.pretrain"):
        (tmp_path / "conf" / f"{name}.toml").write_text(tiny)
    (tmp_path / "table.toml").write_text(TABLE)
    return ("--train-configs", "conf", "--seeds", "0", "--results", "out/RESULTS.md", "--nj", "1", "--threads", "1", "--device", "cpu")


def test_an4_fills_its_table_and_a_second_run_repeats_nothing(run, tmp_path, options, rng):
    for part, speakers in (("an4_clstk", ("fa", "fb", "mc", "md", "me")), ("an4test_clstk", ("fe", "mf", "mg"))):
        for number, speaker in enumerate(speakers):
            for take in range(3):
                write_voice(tmp_path / "an4" / "wav" / part / speaker / f"t{take}-{speaker}-b.wav", 90 + 30 * number, rng)
    words = (ROOT / "egs/an4/v2/run.sh", "--corpus", "an4", "--any-size", "true", "--num-dev", "2", "--systems", "first second", *options)
    result = run(*words, "--table", "table.toml", timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 8
    text = (tmp_path / "out/RESULTS.md").read_text()
    assert "9 target / 27 nontarget" in text
    assert "The first is better: **" in text
    assert {"dev-eer-by-steps.svg", "dev-eer-by-seconds.svg"} <= {path.name for path in (tmp_path / "out/charts").iterdir()}
    again = run(*words, "--table", "table.toml", "--stage", "4", "--stop-stage", "4", timeout=300)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("already") == 2


def test_speech_commands_goes_on_from_a_pretrained_model_and_fills_its_tables(run, tmp_path, options, rng):
    for word in ("bed", "cat"):
        for number in range(9):
            for take in range(2):
                write_voice(tmp_path / "corpus" / word / f"{number:08x}_nohash_{take}.wav", 90 + 20 * number, rng)
    sizes = ("--words", "bed cat", "--num-test", "3", "--num-dev", "2", "--tables", "table.toml")
    result = run(ROOT / "egs/speech_commands/v3/run.sh", "--corpus", "corpus", *sizes, *options, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 8
    logs = {name: (tmp_path / f"exp/small/{name}/seed0/log/train.log").read_text() for name in ("first", "second")}
    assert "tensors taken over" in logs["second"]
    assert "tensors taken over" not in logs["first"]
    assert "The first is better: **" in (tmp_path / "out/RESULTS.md").read_text()


def write_keywords(folder, words, num_speakers, num_takes, rng):
    for word in words:
        for number in range(num_speakers):
            for take in range(num_takes):
                write_voice(folder / word / f"{number:08x}_nohash_{take}.wav", 90 + 20 * number, rng)


def test_two_sources_are_read_in_turn_or_mixed_and_every_pair_of_keywords_is_tried(run, tmp_path, options, rng):
    write_keywords(tmp_path / "corpus", ("bed", "cat", "happy"), 14, 2, rng)
    tiny = (tmp_path / "tiny.toml").read_text()
    (tmp_path / "conf/second_multireader.toml").write_text(tiny + "[sources.small]\nweight = 2.0\n")
    table = TABLE.replace("test/trials", 'test/trials_cat_bed"\nenroll_spk2utt = "test/enroll').replace("second/", "second_multireader/")
    table = table.replace("control/scores", "control/test/scores_cat_bed").replace('test/scores"', 'test/scores_cat_bed"')
    (tmp_path / "table.toml").write_text(table)
    sizes = ("--num-test", "4", "--num-dev", "2", "--num-small", "4", "--systems", "first second_multireader", "--tables", "table.toml")
    result = run(ROOT / "egs/speech_commands/v2/run.sh", "--corpus", "corpus", *sizes, *options, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 8
    counts = re.findall(r"trials_(\w+): (\d+) target, (\d+) nontarget", result.stderr)
    same, other = ["4", "12"], ["8", "24"]  # four speakers and two takes: the clip of a model is not tried again
    cases = {"bed_bed": same, "bed_cat": other, "cat_bed": other, "cat_cat": same, "all": ["24", "72"]}
    assert {name: rest for name, *rest in counts} == cases
    logs = {name: (tmp_path / f"exp/small/{name}/seed0/train.jsonl").read_text() for name in ("first", "second_multireader")}
    assert "small.loss" in logs["second_multireader"]
    assert "small.loss" not in logs["first"]
    assert not speakers_of(tmp_path / "data/small") & speakers_of(tmp_path / "data/large")
    assert "The first is better: **" in (tmp_path / "out/RESULTS.md").read_text()


def test_every_arabic_speaker_is_tested_by_a_model_that_has_not_heard_them(run, tmp_path, options, rng):
    write_keywords(tmp_path / "large", ("bed", "cat", "happy"), 12, 1, rng)
    for keyword in ("next", "zero"):
        for number in range(8):
            for take in (1, 2):
                write_voice(tmp_path / "arabic" / keyword / f"{number:08d}_NO_{take:02d}.wav", 90 + 40 * number, rng)
    tiny = (tmp_path / "tiny.toml").read_text()
    (tmp_path / "conf/second_multireader.toml").write_text(tiny + "[sources.small]\nweight = 2.0\n")
    (tmp_path / "conf/first_large_alone.toml").write_text(tiny)
    table = TABLE.replace("test/trials", 'test/trials_same"\nenroll_spk2utt = "test/enroll_same').replace("test/scores", "scores_same")
    table = (
        table.replace("control/scores", "control/scores_same")
        .replace("first/", "first_large_alone/")
        .replace("second/", "second_multireader/")
    )
    (tmp_path / "table.toml").write_text("\n".join(line for line in table.splitlines() if not line.startswith("timing")))
    systems = ("--systems", "first_large_alone second_multireader", "--tables", "table.toml")
    sizes = ("--num-enroll", "1", "--num-test", "3", "--num-dev", "2")
    words = (ROOT / "egs/arabic_commands/v1/run.sh", "--corpus", "arabic", "--large", "large", *sizes, *systems, *options)
    result = run(*words, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" done after ") == 8
    data, models = tmp_path / "data", tmp_path / "exp/small"
    assert speakers_of(data / "test") == {f"ar{number:08d}" for number in range(8)}
    for fold in ("fold1", "fold2"):
        train, tested = speakers_of(data / fold / "train"), speakers_of(data / fold / "tested")
        assert len(train) == len(tested) == 4
        assert not train & tested
        assert train <= speakers_of(data / fold / "mixed")
    scored = (models / "second_multireader/seed0/scores_same").read_text().split()[::3]
    assert {model.rsplit("-", 1)[0] for model in scored} == speakers_of(data / "test")
    assert [path.name for path in (models / "first_large_alone/seed0").glob("fold*")] == ["fold1"]
    assert "The first is better: **" in (tmp_path / "out/RESULTS.md").read_text()


def speakers_of(folder):
    return {line.split()[0] for line in (folder / "spk2utt").read_text().splitlines()}


def test_a_scale_that_is_none_is_refused_before_any_work(run, tmp_path):
    for recipe in ("an4/v2", "arabic_commands/v1", "speech_commands/v2", "speech_commands/v3"):
        result = run(ROOT / "egs" / recipe / "run.sh", "--scale", "huge")
        assert result.returncode == 2
        assert "--scale needs small or full, got 'huge'" in result.stderr
    assert not list(tmp_path.iterdir())
