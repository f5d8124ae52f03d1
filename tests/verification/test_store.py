"""The speaker store: whole at every moment, for one model, readable for its owner and group alone."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.embeddings.enrollment import enroll as enroll_vectors
from sv_toolkit.embeddings.loading import EmbeddingSet
from sv_toolkit.embeddings.waveform import Embedded
from sv_toolkit.errors import DataError, ModelError, OutputError
from sv_toolkit.io.files import locked
from sv_toolkit.verification import store as library
from sv_toolkit.verification.store import check_speaker_id, enroll, read_store, remove

ROOT = Path(__file__).resolve().parents[2]
MODEL, OTHER = "a" * 64, "b" * 64


def embedded(rng, digest, duration=2.0):
    vector = rng.normal(size=4)
    return Embedded((vector / np.linalg.norm(vector)).astype(np.float32), duration, 200, 150, digest)


def files(path):
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != ".lock"}


def test_a_speaker_is_the_mean_that_enrollment_from_d_vectors_makes(tmp_path, rng):
    utterances = {f"u{i}": embedded(rng, f"d{i}") for i in range(5)}
    models = {"bea": ["u0", "u1", "u2"], "abe": ["u3", "u4"]}
    enroll(tmp_path / "store", MODEL, {key: [utterances[u] for u in own] for key, own in models.items()})
    found = read_store(tmp_path / "store")
    vectors = EmbeddingSet(Path("x"), list(utterances), np.stack([u.vector for u in utterances.values()]))
    expected = enroll_vectors(vectors, models)
    assert list(found.speakers) == ["abe", "bea"]
    for model, embedding in zip(expected.model_ids, expected.embeddings):
        assert found.embeddings[found.row(model)] == pytest.approx(embedding, abs=1e-6)
    assert found.speakers["bea"] == library.Entry(("d0", "d1", "d2"), 6.0, 600)


def test_recordings_added_later_weigh_as_much_as_those_enrolled_together(tmp_path, rng):
    utterances = [embedded(rng, f"d{i}") for i in range(5)]
    enroll(tmp_path / "once", MODEL, {"abe": utterances})
    for part in (utterances[:1], utterances[1:4], utterances[4:]):
        enroll(tmp_path / "later", MODEL, {"abe": part}, update=True)
    once, later = read_store(tmp_path / "once"), read_store(tmp_path / "later")
    assert later.means == pytest.approx(once.means, abs=1e-12)
    assert later.speakers == once.speakers


def test_the_same_command_twice_changes_nothing(tmp_path, rng):
    own = [embedded(rng, "d0"), embedded(rng, "d1")]
    assert enroll(tmp_path / "store", MODEL, {"abe": [*own, own[0]]}) == {"abe": 2}
    before = files(tmp_path / "store")
    assert enroll(tmp_path / "store", MODEL, {"abe": own}) == {"abe": 0}
    assert enroll(tmp_path / "store", MODEL, {"abe": own}, update=True) == {"abe": 0}
    assert files(tmp_path / "store") == before


def test_other_recordings_of_an_enrolled_speaker_need_update(tmp_path, rng):
    enroll(tmp_path / "store", MODEL, {"abe": [embedded(rng, "d0")]})
    before = files(tmp_path / "store")
    with pytest.raises(DataError, match="abe is enrolled already, with 1 recordings; --update adds"):
        enroll(tmp_path / "store", MODEL, {"abe": [embedded(rng, "d1")], "bea": [embedded(rng, "d2")]})
    assert files(tmp_path / "store") == before


def test_one_recording_for_two_speakers_is_told(tmp_path, rng, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    enroll(tmp_path / "store", MODEL, {"abe": [embedded(rng, "d0")]})
    enroll(tmp_path / "store", MODEL, {"bea": [embedded(rng, "d0")]})
    assert "a recording of bea is enrolled as abe too" in caplog.text


def test_speakers_of_another_model_are_refused(tmp_path, rng):
    enroll(tmp_path / "store", MODEL, {"abe": [embedded(rng, "d0")]})
    with pytest.raises(ModelError, match="holds speakers of the model aaa"):
        enroll(tmp_path / "store", OTHER, {"bea": [embedded(rng, "d1")]})


def test_vectors_that_cancel_out_are_refused(tmp_path, rng):
    one = embedded(rng, "d0")
    with pytest.raises(DataError, match="abe cancel out"):
        enroll(tmp_path / "store", MODEL, {"abe": [one, Embedded(-one.vector, 1.0, 100, 100, "d1")]})
    assert not (tmp_path / "store" / "store.json").exists()


def test_removed_speakers_leave_no_trace_in_the_files(tmp_path, rng):
    path = tmp_path / "store"
    enroll(path, MODEL, {"abe": [embedded(rng, "d0")], "bea": [embedded(rng, "d1")]})
    gone = read_store(path).means[0]
    remove(path, "abe")
    assert list(read_store(path).speakers) == ["bea"]
    assert not any(gone.tobytes() in content or b"abe" in content for content in files(path).values())
    remove(path, "bea")
    assert read_store(path).means.shape == (0, 4)
    with pytest.raises(DataError, match="'bea' is not enrolled; nobody is enrolled"):
        remove(path, "bea")
    assert len(files(path)) == 2


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_for_owner_and_group_alone(umask, tmp_path, rng):
    before = os.umask(umask)
    try:
        enroll(tmp_path / "store", MODEL, {"abe": [embedded(rng, "d0")]})
    finally:
        os.umask(before)
    mode = stat.S_IMODE((tmp_path / "store").stat().st_mode)
    assert mode == 0o750 & ~umask
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "store").iterdir()} == {0o640 & ~umask}


def test_a_folder_that_others_may_enter_is_told(tmp_path, rng, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    enroll(tmp_path / "open", MODEL, {"abe": [embedded(rng, "d0")]})
    assert "chmod 750" in caplog.text


HOSTILE = ["", " ", "a b", "a\nb", "a\tb", "a\0b", "\x1b[31mred", "\u202eeve", "a\u2028b", "x" * 257, "\udcff"]
HARMLESS = ["../../etc/passwd", "/etc/passwd", "..", ".lock", "store.json", "-rf", "$(id)", "a;b|c", "Zoë", "名前", '"', "\\", "%s{0}"]


@pytest.mark.parametrize("speaker", HOSTILE, ids=ascii)
def test_ids_that_are_no_words_are_refused_in_one_line(speaker, tmp_path, rng):
    with pytest.raises(DataError, match="a speaker id is a word") as error:
        enroll(tmp_path / "store", MODEL, {speaker: [embedded(rng, "d0")]})
    assert str(error.value).isprintable()
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("speaker", HARMLESS)
def test_ids_are_never_file_names(speaker, tmp_path, rng):
    enroll(tmp_path / "store", MODEL, {speaker: [embedded(rng, "d0")], "other": [embedded(rng, "d1")]})
    assert set(read_store(tmp_path / "store").speakers) == {speaker, "other"}
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert len(files(tmp_path / "store")) == 2
    remove(tmp_path / "store", speaker)
    assert list(read_store(tmp_path / "store").speakers) == ["other"]


@settings(max_examples=200)
@given(st.text(max_size=12))
def test_an_id_that_is_taken_stands_in_a_line_of_text_unharmed(speaker):
    try:
        check_speaker_id(speaker)
    except DataError:
        return
    assert f"{speaker} 1\n".splitlines()[0].split() == [speaker, "1"]
    assert speaker.encode().decode() == speaker


def damage(path, **changes):
    content = json.loads((path / "store.json").read_text())
    (path / "store.json").write_text(json.dumps({**content, **changes}))


ENTRY = {"utterances": ["d0"], "duration": 1.0, "num_frames": 5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "not a speaker store of format 1"),
        ({"kind": "calibration"}, "not a speaker store"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"means": "../../etc/passwd"}, "is not the digest of a file"),
        ({"means": "0" * 64}, "missing, so the store is damaged"),
        ({"embedding_dim": 3}, "1 x 3 float64 are needed"),
        ({"speakers": {"a\nb": ENTRY}}, "a speaker id is a word"),
        ({"speakers": {"a": {**ENTRY, "utterances": []}}}, "at least one recording"),
        ({"speakers": {"a": {**ENTRY, "duration": -1.0}}}, "must be positive"),
        ({"speakers": {"a": ENTRY, "b": ENTRY}}, "2 x 4 float64 are needed"),
        ({"speakers": []}, "speakers"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_damaged_store_is_one_line_and_no_speaker(changes, message, tmp_path, rng):
    enroll(tmp_path / "store", MODEL, {"abe": [embedded(rng, "d0")]})
    damage(tmp_path / "store", **changes)
    with pytest.raises((DataError, library.ConfigError), match=message) as error:
        read_store(tmp_path / "store")
    assert str(error.value).isprintable()


def test_speakers_in_another_order_are_refused_as_their_means_would_be_others(tmp_path, rng):
    enroll(tmp_path / "store", MODEL, {key: [embedded(rng, key)] for key in ("abe", "bea")})
    content = json.loads((tmp_path / "store" / "store.json").read_text())
    content["speakers"] = dict(reversed(content["speakers"].items()))
    (tmp_path / "store" / "store.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="not in order, so whose means are whose is lost"):
        read_store(tmp_path / "store")


def test_a_store_without_speakers_takes_another_model(tmp_path, rng):
    enroll(tmp_path / "store", MODEL, {"abe": [embedded(rng, "d0")]})
    remove(tmp_path / "store", "abe")
    enroll(tmp_path / "store", OTHER, {"bea": [embedded(rng, "d1")]})
    assert read_store(tmp_path / "store").model == OTHER


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"kind": "speaker store"}', "\0"])
def test_what_is_no_store_is_refused(text, tmp_path):
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(DataError, match="not a speaker store|is not a speaker store"):
        read_store(tmp_path)


def test_changed_means_are_noticed(tmp_path, rng):
    enroll(tmp_path / "store", MODEL, {"abe": [embedded(rng, "d0")]})
    means = next((tmp_path / "store").glob("means.*"))
    means.write_bytes(means.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match="corrupt"):
        read_store(tmp_path / "store")


def test_a_folder_of_something_else_is_left_alone(tmp_path, rng):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "wav.scp").write_text("a b\n")
    with pytest.raises(OutputError, match="holds something else"):
        enroll(tmp_path / "data", MODEL, {"abe": [embedded(rng, "d0")]})
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["wav.scp"]
    with pytest.raises(DataError, match="is not a speaker store; sv-enroll --store makes one"):
        read_store(tmp_path / "data")
    with pytest.raises(DataError, match="is not a speaker store"):
        remove(tmp_path / "nowhere", "abe")
    assert not (tmp_path / "nowhere").exists()


WRITER = """
import sys
from types import SimpleNamespace
import numpy as np
from sv_toolkit.verification.store import enroll
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng = np.random.default_rng(0)
for i in range(count):
    one = SimpleNamespace(vector=rng.normal(size=4), duration=1.0, num_frames=9, digest=f"{name}{i}")  # an Embedded, without torch
    enroll(path, "a" * 64, {f"{name}-{i:04d}": [one]})
    print(f"{name}-{i:04d}", flush=True)
"""


def start_writer(path, name, count):
    words = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_writers_at_the_same_time_lose_nobody_and_readers_always_see_a_whole_store(tmp_path):
    writers = [start_writer(tmp_path / "store", name, 15) for name in ("abe", "bea")]
    counts = []
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "store" / "store.json").exists():
            counts.append(len(read_store(tmp_path / "store").speakers))
    assert [writer.wait() for writer in writers] == [0, 0], [writer.stderr.read() for writer in writers]
    assert counts == sorted(counts)
    assert len(read_store(tmp_path / "store").speakers) == 30


def test_a_writer_that_is_killed_leaves_every_speaker_that_it_finished(tmp_path):
    path = tmp_path / "store"
    for round_ in range(3):
        writer = start_writer(path, f"w{round_}", 10_000)
        done = [writer.stdout.readline().strip() for _ in range(5)]
        time.sleep(0.004 * round_)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert set(done) <= set(read_store(path).speakers)
    enroll(path, MODEL, {"last": [embedded(np.random.default_rng(0), "d0")]})
    assert "last" in read_store(path).speakers
    assert len(files(path)) == 2, "what the killed writers left is gone"


@pytest.mark.parametrize("step", ["whole_binary", "write_text"])
def test_a_change_that_fails_half_way_is_no_change(step, tmp_path, rng, monkeypatch):
    enroll(tmp_path / "store", MODEL, {"abe": [embedded(rng, "d0")]})
    before = read_store(tmp_path / "store")

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(library, step, fail)
        enroll(tmp_path / "store", MODEL, {"bea": [embedded(rng, "d1")]})
    after = read_store(tmp_path / "store")
    assert after.speakers == before.speakers
    assert np.array_equal(after.means, before.means)


def test_a_lock_that_is_never_let_go_is_an_error_and_not_a_hang(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(library, "LOCK_WAIT", 0.05)
    enroll(tmp_path / "store", MODEL, {"abe": [embedded(rng, "d0")]})
    with locked(tmp_path / "store"), pytest.raises(OutputError, match="in use by process"):
        enroll(tmp_path / "store", MODEL, {"bea": [embedded(rng, "d1")]})
