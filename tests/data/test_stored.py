from __future__ import annotations

import numpy as np
import pytest
import soundfile

from sv_toolkit.data.data_dir import write_data_dir
from sv_toolkit.data.stored import useless_audio
from sv_toolkit.data.validation import Rules, validate
from sv_toolkit.errors import AudioError
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.audio import AudioRequest, read_waveform
from sv_toolkit.io.manifest import Manifest, describe_file, write_manifest
from sv_toolkit.io.tables import read_table, write_table

IDS = ["spk1-u1", "spk1-u2", "spk2-u1"]


@pytest.fixture
def data(tmp_path, rng):
    """Three utterances with audio of one second, features and decisions."""
    for key in IDS:
        soundfile.write(tmp_path / f"{key}.wav", rng.normal(0, 0.1, 8000), 8000)
    path = tmp_path / "data"
    tables = {"wav.scp": {key: str(tmp_path / f"{key}.wav") for key in IDS}, "utt2spk": {key: key[:4] for key in IDS}}
    write_data_dir(path, {**tables, "utt2num_frames": dict.fromkeys(IDS, "98")})
    write_ark_scp(path, "feats", {key: rng.normal(size=(98, 4)).astype(np.float32) for key in IDS})
    write_ark_scp(path, "vad", {key: np.ones(98, np.float32) for key in IDS})
    return path


def only_problem(path):
    assert validate(path) == []
    problems = validate(path, read_data=True)
    assert len(problems) == 1, problems
    return str(problems[0])


def test_good_data_has_no_problem(data):
    assert validate(data, read_data=True) == []


def test_missing_and_foreign_audio_is_found(data, tmp_path):
    (tmp_path / "spk1-u2.wav").unlink()
    assert "wav.scp:2: recording spk1-u2" in only_problem(data)
    (tmp_path / "spk1-u2.wav").write_text("<html>404</html>")
    assert "not an audio file" in only_problem(data)


def write_cut(path):
    soundfile.write(path, np.full(8000, 0.1), 8000)
    path.write_bytes(path.read_bytes()[:-1000])


UNUSABLE = {
    "cut": write_cut,
    "empty": lambda path: soundfile.write(path, np.zeros(0), 8000),
    "another container": lambda path: soundfile.write(path, np.full(8000, 0.1), 8000, format="W64"),
    "not finite": lambda path: soundfile.write(path, np.full(8000, np.nan), 8000, subtype="FLOAT"),
    "headerless": lambda path: path.with_suffix(".raw").write_bytes(bytes(16000)),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_audio_is_found_wanting_for_the_reason_for_which_extraction_leaves_it_out(data, tmp_path, kind):
    path = tmp_path / "spk1-u2.wav"
    UNUSABLE[kind](path)
    if kind == "headerless":
        path = path.with_suffix(".raw")
        (data / "wav.scp").write_text((data / "wav.scp").read_text().replace("spk1-u2.wav", "spk1-u2.raw"))
    with pytest.raises(AudioError) as caught:
        read_waveform(AudioRequest(str(path), "", "spk1-u2", sample_rate=8000))
    message = only_problem(data)
    assert message.startswith(f"{data}/wav.scp:2: recording spk1-u2: ")
    assert str(caught.value).removeprefix(f"{path}: ") in message
    assert useless_audio(read_table(data / "wav.scp"), None, None).keys() == {"spk1-u2"}


def test_a_device_is_no_audio(data):
    text = (data / "wav.scp").read_text().splitlines()
    (data / "wav.scp").write_text("\n".join([text[0], "spk1-u2 /dev/zero", text[2]]) + "\n")
    assert "not a regular file" in only_problem(data)


def test_several_channels_need_a_word_which(data, tmp_path, rng):
    soundfile.write(tmp_path / "spk1-u2.wav", rng.normal(0, 0.1, (8000, 2)), 8000)
    assert "2 channels" in only_problem(data)
    (data / "reco2file_and_channel").write_text("spk1-u2 f A\n")
    assert validate(data, read_data=True) == []


def test_a_segment_past_the_end_of_its_recording_is_found(data):
    (data / "segments").write_text("".join(f"{key} {key} 0.5 {4 if key == IDS[1] else 1}\n" for key in IDS))
    message = only_problem(data)
    assert "segments:2" in message
    assert "ends at 4 s" in message
    assert "1.000 s" in message


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.full((98, 4), np.nan, np.float32), ["feats.scp:2", "not finite"]),
        (np.ones((98, 5), np.float32), ["feats.scp:2", "5 columns", "4"]),
        (np.ones(98, np.float32), ["feats.scp:2", "matrix"]),
        (np.ones((90, 4), np.float32), ["utt2num_frames:2", "98 frames", "90"]),
    ],
)
def test_damaged_features_are_found(data, rng, matrix, words):
    write_ark_scp(data, "feats", {key: rng.normal(size=(98, 4)).astype(np.float32) if key != IDS[1] else matrix for key in IDS})
    (data / "vad.scp").unlink()
    message = only_problem(data)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(("decisions", "words"), [(np.ones(93), ["93", "98"]), (np.full(98, 0.5), ["other than 0 and 1"])])
def test_decisions_that_do_not_fit_are_found(data, decisions, words):
    write_ark_scp(data, "vad", {key: np.ones(98, np.float32) if key != IDS[1] else decisions.astype(np.float32) for key in IDS})
    message = only_problem(data)
    assert all(word in message for word in ["vad.scp:2", "spk1-u2", *words]), message


def test_bit_rot_is_found_by_the_checksum(data):
    write_manifest(data, Manifest("fbank", {}, {}, {"feats.ark": describe_file(data / "feats.ark")}))
    content = bytearray((data / "feats.ark").read_bytes())
    content[200:400] = bytes(200)  # zeros are finite numbers: no look at the content sees them
    (data / "feats.ark").write_bytes(content)
    message = only_problem(data)
    assert "feats.ark" in message
    assert "checksum" in message


def test_a_damaged_manifest_is_a_problem(data):
    (data / "fbank.manifest.json").write_text("{")
    assert "damaged manifest" in only_problem(data)


def test_recordings_of_several_rates_and_wrong_durations_are_named(tmp_path, rng):
    wav = {}
    for key, rate in (("s-1", 16_000), ("s-2", 16_000), ("s-3", 8_000)):
        wav[key] = str(tmp_path / f"{key}.wav")
        soundfile.write(wav[key], rng.normal(0, 0.1, rate), rate)
    folder = tmp_path / "data"
    write_data_dir(folder, {"wav.scp": wav, "utt2spk": dict.fromkeys(wav, "s"), "utt2dur": {"s-1": "1.00", "s-2": "1.23", "s-3": "1.005"}})
    found = [str(problem) for problem in validate(folder, read_data=True)]
    assert len(found) == 2
    assert "utt2dur:2: utt2dur says 1.23 s of s-2, its recording lasts 1.000 s" in found[0]
    assert "wav.scp:3: recordings of 2 sample rates: 8000 Hz (1), 16000 Hz (2); s-3 is of the rarest" in found[1]
    write_data_dir(folder, {"utt2speed": dict.fromkeys(wav, "0.8"), "utt2dur": dict.fromkeys(wav, "1.25")})
    assert not any("utt2dur says" in str(problem) for problem in validate(folder, read_data=True))


def test_recordings_of_several_rates_are_named(data, tmp_path):
    soundfile.write(tmp_path / "spk1-u2.wav", np.full(16000, 0.1), 16000)
    assert "wav.scp:2: recordings of 2 sample rates" in only_problem(data)


@pytest.mark.parametrize("said", ["1.23", "0.8"])
def test_durations_that_are_not_those_of_the_audio_are_named(data, said):
    write_table(data / "utt2dur", {**dict.fromkeys(IDS, "1.0"), "spk1-u2": said})
    message = only_problem(data)
    assert "utt2dur:2" in message and said in message and "1.000 s" in message


def test_durations_that_are_rounded_are_right(data):
    write_table(data / "utt2dur", dict.fromkeys(IDS, "0.985"))
    write_table(data / "reco2dur", dict.fromkeys(IDS, "1"))
    assert validate(data, read_data=True) == []


def test_durations_of_recordings_and_of_sped_up_utterances_are_each_their_own(data):
    write_table(data / "utt2speed", dict.fromkeys(IDS, "2"))
    write_table(data / "utt2dur", dict.fromkeys(IDS, "0.5"))
    write_table(data / "reco2dur", dict.fromkeys(IDS, "1.0"))
    assert validate(data, read_data=True) == []
    write_table(data / "reco2dur", dict.fromkeys(IDS, "0.5"))
    assert validate(data, read_data=True) == []
    write_table(data / "reco2dur", dict.fromkeys(IDS, "0.7"))
    assert "reco2dur:1" in str(validate(data, read_data=True)[0])


def test_frames_of_audio_at_another_speed_are_named(data):
    (data / "frame_shift").write_text("0.01\n")
    assert validate(data, read_data=True) == []
    write_ark_scp(data, "feats", {key: np.ones((111, 4), np.float32) for key in IDS})
    write_ark_scp(data, "vad", {key: np.ones(111, np.float32) for key in IDS})
    write_table(data / "utt2num_frames", dict.fromkeys(IDS, "111"))
    problems = [str(problem) for problem in validate(data, read_data=True)]
    assert len(problems) == 3 and "utt2num_frames:1" in problems[0] and "utt2speed" in problems[0]


def test_frames_that_another_program_dropped_are_no_contradiction(data):
    (data / "frame_shift").write_text("0.01\n")
    write_ark_scp(data, "feats", {key: np.ones((60, 4), np.float32) for key in IDS})
    write_ark_scp(data, "vad", {key: np.ones(60, np.float32) for key in IDS})
    write_table(data / "utt2num_frames", dict.fromkeys(IDS, "60"))
    assert validate(data, read_data=True) == []


def test_what_training_refuses_in_features_is_named(data, rng):
    write_ark_scp(data, "feats", {key: np.full((98, 4), 1e30 if key == "spk2-u1" else 1, np.float32) for key in IDS})
    assert "1e+30" in only_problem(data)


def test_keys_of_archives_are_compared_on_demand(data):
    features = read_table(data / "feats.scp")
    swapped = {"spk1-u1": features["spk1-u1"], "spk1-u2": features["spk1-u2"], "spk2-u9": features["spk2-u1"]}
    for name in ("wav.scp", "utt2spk", "utt2num_frames", "vad.scp"):
        entries = read_table(data / name)
        write_table(data / name, {key.replace("spk2-u1", "spk2-u9"): value for key, value in entries.items()})
    write_table(data / "feats.scp", swapped)
    (data / "spk2utt").unlink()
    assert validate(data, read_data=True) == []
    problems = [str(problem) for problem in validate(data, read_data=True, rules=Rules(check_keys=True))]
    assert len(problems) == 2 and all("spk2-u9" in problem for problem in problems)


@pytest.mark.parametrize("name", ["text", "utt2uniq"])
def test_tables_that_kaldi_wants_complete_are_compared(data, name):
    write_table(data / name, dict.fromkeys(IDS, "word"))
    assert validate(data, read_data=True) == []
    write_table(data / name, {"spk1-u1": "word", "spk9-u1": "word"})
    text = "\n".join(map(str, validate(data, read_data=True)))
    assert f"{name}:2: 1 of 2 ids are not in" in text and f"{name}: 2 of the 3 ids" in text


def test_rates_that_extraction_converted_are_right(data, tmp_path):
    soundfile.write(tmp_path / "spk1-u2.wav", np.full(16000, 0.1), 16000)
    job = {"config": {"frame_shift": 0.01}, "audio": {"resample": True}}
    write_manifest(data, Manifest("fbank", job, {}, {"feats.scp": describe_file(data / "feats.scp")}))
    assert validate(data, read_data=True) == []
