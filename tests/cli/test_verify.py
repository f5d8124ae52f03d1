"""sv-enroll --store, sv-store, sv-verify, sv-identify: from recordings to decisions, as commands."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from sv_toolkit.backends.calibration import Calibration, FitList, write_calibration
from sv_toolkit.cli.enroll import command as enroll
from sv_toolkit.cli.identify import command as identify
from sv_toolkit.cli.store import command as store
from sv_toolkit.cli.verify import command as verify
from sv_toolkit.io.tables import write_table
from sv_toolkit.models.store import model_digest

BIN = Path(__file__).resolve().parents[2] / "bin"


def run(command, *arguments, input=None):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], input=input)


def lines(result):
    assert result.exit_code == 0, result.stderr
    return dict(line.split(" ", 1) for line in result.stdout.splitlines() if not line.startswith(("time", "candidate")))


@pytest.fixture
def model(voice_model):
    return voice_model()


@pytest.fixture
def voices(write_voice):
    return {f"{name}{i}": write_voice(f"{name}{i}", pitch + i, 1.2) for name, pitch in (("abe", 100), ("bea", 210)) for i in range(2)}


@pytest.fixture
def enrolled(model, voices, tmp_path):
    for name in ("abe", "bea"):
        result = run(enroll, "--store", tmp_path / "store", "--model", model, "--speaker", name, voices[f"{name}0"])
        assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    return tmp_path / "store"


def calibrate(folder, score, weight=50.0, **changes):
    """A calibration whose threshold at the prior of 0.05 is this score."""
    curve = ((-50.0, 1.0, 0.0), (0.0, 0.2, 0.02), (5.0, 0.02, 0.2), (50.0, 0.0, 0.9))
    fields = {"model": model_digest(folder)} | changes
    made_of = FitList("dev_trials", "4301b6749d9e", 300, 5000)
    found = Calibration((weight,), math.log(19) - weight * score, prior=0.05, list=made_of, curve=curve, **fields)
    write_calibration(folder / "calibration.json", found)


def claim_of(model, enrolled, voice, *more, speaker="abe"):
    return run(verify, "--model", model, "--store", enrolled, "--claim", speaker, voice, *more)


def test_a_pair_and_a_claim_have_the_same_score(model, enrolled, voices):
    claim = lines(claim_of(model, enrolled, voices["abe1"]))
    pair = lines(run(verify, "--model", model, voices["abe0"], voices["abe1"]))
    assert claim["score"] == pair["score"]
    assert (claim["claim"], pair["enrolled"], pair["test"]) == ("abe", str(voices["abe0"]), str(voices["abe1"]))


def test_without_calibration_there_is_no_decision_and_the_way_to_one(model, enrolled, voices):
    result = claim_of(model, enrolled, voices["abe1"])
    assert set(lines(result)) == {"claim", "test", "score"}
    assert f"sv-calibrate TRIALS SCORES --model {model}" in result.stderr
    assert "--threshold" in result.stderr
    refused = claim_of(model, enrolled, voices["abe1"], "--exit-code")
    assert (refused.exit_code, refused.stdout) == (1, "")
    prior = claim_of(model, enrolled, voices["abe1"], "--prior", 0.5)
    assert prior.exit_code == 1 and "say nothing without a calibration" in prior.stderr


def test_the_decision_flips_at_the_threshold(model, enrolled, voices):
    score = json.loads(claim_of(model, enrolled, voices["abe1"], "--json").stdout)["score"]
    for at, word in ((score - 1e-6, "accept"), (score + 1e-6, "reject")):
        calibrate(model, at)
        told = lines(claim_of(model, enrolled, voices["abe1"]))
        assert told["decision"] == word
        (model / "calibration.json").unlink()
        assert lines(claim_of(model, enrolled, voices["abe1"], "--threshold", at))["decision"] == word


def test_everything_that_a_decision_rests_on_is_told(model, enrolled, voices):
    calibrate(model, 0.5)
    result = claim_of(model, enrolled, voices["abe1"])
    told, found = lines(result), json.loads(claim_of(model, enrolled, voices["abe1"], "--json").stdout)
    assert result.stderr == ""
    assert told["list"] == "dev_trials 4301b6749d9e: 300 target, 5000 nontarget"
    assert (told["prior"], told["threshold"], told["threshold_of"]) == ("0.050000", "2.944439", "llr")
    assert found["llr"] == pytest.approx(50 * (found["score"] - 0.5) + math.log(19))
    assert found["posterior"] == pytest.approx(1 / (1 + 19 * math.exp(-found["llr"])))
    assert (found["false_alarm_rate"], found["miss_rate"]) == (0.02, 0.2)  # of the next point of the curve
    assert (found["list"]["num_nontargets"], found["claim"]) == (5000, "abe")
    assert claim_of(model, enrolled, voices["abe1"]).stdout == result.stdout, "no state between calls"


def test_an_enrolled_recording_proves_nothing(model, enrolled, voices):
    for result in (
        claim_of(model, enrolled, voices["abe0"]),
        run(verify, "--model", model, voices["abe0"], voices["abe0"]),
        run(identify, "--model", model, "--store", enrolled, voices["abe0"]),
    ):
        assert f"{voices['abe0']}: is an enrolled recording itself" in result.stderr
    assert "itself" not in claim_of(model, enrolled, voices["abe1"]).stderr


def test_prior_and_costs_move_the_threshold(model, enrolled, voices):
    calibrate(model, 0.5)
    told = lines(claim_of(model, enrolled, voices["abe1"], "--prior", 0.5, "--cost-fa", 100))
    assert float(told["threshold"]) == pytest.approx(math.log(100), abs=1e-6)


def test_exit_status_tells_the_decision_only_when_asked(model, enrolled, voices):
    for at, status in ((-1.0, 0), (1.0, 3)):
        own = ["--threshold", at]
        assert claim_of(model, enrolled, voices["bea1"], *own).exit_code == 0
        result = claim_of(model, enrolled, voices["bea1"], *own, "--exit-code")
        assert result.exit_code == status
        assert f"decision {'reject' if status else 'accept'}" in result.stdout


def test_a_calibration_of_another_model_is_refused(model, enrolled, voices):
    calibrate(model, 0.5, model="b" * 64)
    result = claim_of(model, enrolled, voices["abe1"])
    assert result.exit_code == 1
    assert "was fitted on scores of the model bbb" in result.stderr


def test_a_store_of_another_model_is_refused(enrolled, voices, voice_model):
    other = voice_model("other", seed=1)
    for result in (
        claim_of(other, enrolled, voices["abe1"]),
        run(identify, "--model", other, "--store", enrolled, voices["abe1"]),
        run(enroll, "--store", enrolled, "--model", other, "--speaker", "cid", voices["abe1"]),
    ):
        assert result.exit_code == 1
        assert "holds speakers of the model" in result.stderr and len(result.stderr.splitlines()) <= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav"], "Missing argument: ENROLLED TEST"),
        (["a.wav", "b.wav", "c.wav"], "3 recordings given"),
        (["--store", "s", "a.wav"], "Missing option: --claim"),
        (["--claim", "abe", "a.wav"], "Missing option: --store"),
        (["--store", "s", "--claim", "abe"], "Missing argument: TEST"),
        (["--store", "s", "--claim", "abe", "--stream", "a.wav"], "no recording is needed with --stream"),
        (["--threshold", "2", "a.wav", "b.wav"], "threshold"),
        (["--prior", "0", "a.wav", "b.wav"], "prior"),
    ],
)
def test_contradictions_are_the_command_lines_fault(arguments, message):
    result = run(verify, "--model", "m", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("speaker", ["cid", "", "a\nb", "../abe", "\x1b[31mabe"], ids=ascii)
def test_claims_of_strangers_are_one_line(speaker, model, enrolled, voices):
    result = claim_of(model, enrolled, voices["abe1"], "--threshold", 0.5, speaker=speaker)
    assert result.exit_code == 1
    assert "is not enrolled; enrolled are abe, bea" in result.stderr
    assert result.stderr.strip().isprintable()


def test_a_data_directory_enrolls_all_its_speakers_and_the_same_again_does_nothing(model, voices, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_table(data / "wav.scp", {f"{key[:3]}-{key}": str(path) for key, path in voices.items()})
    write_table(data / "utt2spk", {f"{key[:3]}-{key}": key[:3] for key in voices})
    arguments = ["--store", tmp_path / "all", "--model", model, data]
    first = run(enroll, *arguments)
    assert "4 recordings of 2 speakers" in first.stderr
    again = run(enroll, *arguments)
    assert again.exit_code == 0 and "nothing to do" in again.stderr
    listed = run(store, tmp_path / "all")
    assert listed.stdout == "abe 2 2.40\nbea 2 2.40\n"
    run(enroll, "--store", tmp_path / "one", "--model", model, "--speaker", "abe", voices["abe0"], voices["abe1"])
    scores = {claim_of(model, tmp_path / name, voices["bea1"]).stdout.splitlines()[-1] for name in ("all", "one")}
    assert len(scores) == 1


def test_bad_utterances_are_named_and_allowed_only_so_far(model, voices, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    write_table(data / "wav.scp", {"abe-0": str(voices["abe0"]), "abe-1": str(tmp_path / "silent.wav")})
    write_table(data / "utt2spk", {"abe-0": "abe", "abe-1": "abe"})
    arguments = ["--store", tmp_path / "store", "--model", model, data]
    refused = run(enroll, *arguments)
    assert refused.exit_code == 1 and "abe-1" in refused.stderr and "silent" in refused.stderr
    assert not (tmp_path / "store").exists()
    assert "abe-1: left out" in run(enroll, *arguments, "--max-bad", 1).stderr
    assert run(store, tmp_path / "store").stdout == "abe 1 1.20\n"


def test_short_recordings_of_a_data_directory_are_one_line(model, write_voice, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    wavs = {f"s{i}-u": str(write_voice(f"short{i}", 100 + 50 * i, 0.36)) for i in range(3)}
    write_table(data / "wav.scp", wavs)
    write_table(data / "utt2spk", {key: key[:2] for key in wavs})
    result = run(enroll, "--store", tmp_path / "store", "--model", model, data)
    assert result.exit_code == 0
    assert "warning: 3 recordings are short or clipped, such as one of s0" in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_update_adds_and_nothing_else_changes_a_speaker(model, enrolled, voices):
    more = ["--store", enrolled, "--model", model, "--speaker", "abe", voices["abe1"]]
    refused = run(enroll, *more)
    assert refused.exit_code == 1 and "--update" in refused.stderr
    assert run(enroll, *more, "--update").exit_code == 0
    assert run(store, enrolled).stdout == "abe 2 2.40\nbea 1 1.20\n"
    assert run(store, enrolled, "--remove", "abe").exit_code == 0
    assert json.loads(run(store, enrolled, "--json").stdout)["speakers"] == {"bea": {"recordings": 1, "seconds": 1.2}}
    assert run(store, enrolled, "--remove", "abe").exit_code == 1


def test_voiceprints_are_not_for_the_world(enrolled):
    assert stat.S_IMODE(enrolled.stat().st_mode) & 0o027 == 0
    assert all(stat.S_IMODE(file.stat().st_mode) & 0o137 == 0 for file in enrolled.iterdir())
    for command in (enroll, store):
        assert "biometric data" in " ".join(run(command, "--help").stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--store", "s", "--model", "m"],
        ["--store", "s", "--model", "m", "d1", "d2"],
        ["--store", "s", "--model", "m", "--overwrite", "d1"],
        ["--model", "m", "a", "b", "c"],
        ["--update", "a", "b", "c"],
        ["a", "b"],
        ["a", "b", "c", "d"],
    ],
    ids=" ".join,
)
def test_forms_of_enrollment_are_not_mixed(arguments):
    assert run(enroll, *arguments).exit_code == 2


def test_the_right_one_of_the_enrolled_is_named_or_nobody(model, enrolled, voices):
    calibrate(model, -0.5, weight=5.0)
    result = run(identify, "--model", model, "--store", enrolled, voices["bea0"])
    told = lines(result)
    assert (told["decision"], told["speaker"]) == ("known", "bea")
    assert float(told["threshold"]) == pytest.approx(math.log(19 * 2), abs=1e-6)
    candidates = [line.split() for line in result.stdout.splitlines() if line.startswith("candidate")]
    assert [words[1] for words in candidates] == ["bea", "abe"]
    assert candidates[0][3] == "1.0000"
    calibrate(model, 1.5, weight=5.0)
    told = lines(run(identify, "--model", model, "--store", enrolled, voices["bea0"]))
    assert told["decision"] == "unknown" and "speaker" not in told
    unknown = run(identify, "--model", model, "--store", enrolled, "--exit-code", "--top", 1, "--json", voices["bea0"])
    found = json.loads(unknown.stdout)
    assert unknown.exit_code == 3
    assert (found["num_enrolled"], len(found["candidates"]), found["speaker"]) == (2, 1, None)


def test_identification_without_calibration_ranks_only(model, enrolled, voices):
    result = run(identify, "--model", model, "--store", enrolled, voices["bea0"])
    told = lines(result)
    assert "decision" not in told and "speaker" not in told
    assert "candidate bea score 1.0000" in result.stdout
    assert "sv-calibrate" in result.stderr


def pcm(path):
    return soundfile.read(path, dtype="int16")[0].astype("<i2").tobytes()


def follow(model, enrolled, data, *more):
    return run(verify, "--model", model, "--store", enrolled, "--claim", "abe", "--stream", *more, input=data)


def test_a_stream_ends_with_the_decision_about_the_whole_file(model, enrolled, voices):
    calibrate(model, 0.5)
    never = ["--stop-accept", 1000, "--stop-reject", 1000]
    whole = lines(claim_of(model, enrolled, voices["bea1"]))
    for data in (pcm(voices["bea1"]), Path(voices["bea1"]).read_bytes(), pcm(voices["bea1"]) + b"\1"):
        result = follow(model, enrolled, data, *never)
        told = lines(result)
        assert {key: told[key] for key in whole if key != "test"} == {key: value for key, value in whole.items() if key != "test"}
        moments = [line.split() for line in result.stdout.splitlines() if line.startswith("time")]
        assert [float(words[1]) for words in moments] == pytest.approx(np.arange(0.2, 1.21, 0.2))
        assert moments[-1][4::2] == ["score", "llr", "posterior"]
        assert "ms of computing per second of sound" in result.stderr
    assert "1 byte(s) dropped" in result.stderr


@pytest.mark.parametrize("option", [("--rate", 8000), ("--history", 1), ("--hop", 1), ("--stop-accept", 1), ("--stop-reject", 1)], ids=str)
def test_options_of_a_stream_are_refused_without_one(model, voices, option):
    result = run(verify, "--model", model, voices["abe0"], voices["abe1"], *option)
    assert result.exit_code == 2 and f"{option[0]} belongs to --stream" in result.stderr


def test_a_stream_that_nothing_can_stop_is_refused_where_it_should(model, enrolled, voices):
    result = follow(model, enrolled, voices["abe1"].read_bytes(), "--stop-accept", 0.1)
    assert result.exit_code == 2 and "--stop-accept needs something to decide by" in result.stderr


def test_names_of_files_cannot_pass_for_lines_of_the_answer(model, voices, tmp_path):
    odd = tmp_path / "x\ndecision accept"
    odd.write_bytes(voices["abe1"].read_bytes())
    told = run(verify, "--model", model, voices["abe0"], odd).stdout.splitlines()
    assert not any(line.startswith("decision") for line in told)


def test_a_clear_claim_stops_the_stream_early(model, enrolled, voices):
    calibrate(model, 0.0, weight=100.0)
    endless = pcm(voices["abe0"]) * 50
    found = [json.loads(line) for line in follow(model, enrolled, endless, "--json").stdout.splitlines()]
    assert found[-1]["is_early"] and found[-1]["heard"] < 3
    assert found[-1]["decision"] == ("accept" if found[-1]["score"] > 0 else "reject")
    assert abs(found[-1]["llr"] - found[-1]["threshold"]) >= 3


def test_a_stream_without_speech_or_without_sound_is_an_error(model, enrolled):
    for data, message in ((b"", "no sound came"), (b"\0" * 32_000, "silent"), (b"\0", "before any sound")):
        result = follow(model, enrolled, data, "--threshold", 0.5)
        assert result.exit_code == 1
        assert message in result.stderr.splitlines()[-1]
        assert "decision" not in result.stdout


def test_a_stream_at_another_rate_is_converted_downwards_only(model, enrolled, write_voice):
    fast, slow = (pcm(write_voice(f"r{rate}", 100, rate=rate)) for rate in (32_000, 8000))
    assert follow(model, enrolled, fast, "--rate", 32_000).exit_code == 0
    refused = follow(model, enrolled, slow, "--rate", 8000)
    assert refused.exit_code == 1 and "--resample" in refused.stderr
    assert follow(model, enrolled, slow, "--rate", 8000, "--resample").exit_code == 0


def test_lines_come_while_the_pipe_is_still_open(model, enrolled, voices):
    words = [sys.executable, str(BIN / "sv-verify"), "--model", str(model), "--store", str(enrolled), "--claim", "abe", "--stream"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        data = pcm(voices["abe1"])
        process.stdin.write(data[:20_001])  # 0.625 s and an odd byte
        process.stdin.flush()
        told = [process.stdout.readline() for _ in range(3)]
        assert [line.split()[1] for line in told] == [b"0.2000", b"0.4000", b"0.6000"]
        time.sleep(0.01)
        process.stdin.write(data[20_001:])
        process.stdin.close()
        assert b"time 1.2000" in process.stdout.read()
        assert process.wait() == 0, process.stderr.read()


def test_a_threshold_that_nothing_can_reach_is_told_with_the_prior_that_can(model, voices):
    calibrate(model, score=1.2, weight=5.0)
    pair = ["--model", model, voices["abe0"], voices["bea0"]]
    result = run(verify, *pair)
    assert "no recording can be accepted: a cosine of 1 gives a log-likelihood ratio of 1.94, the threshold is 2.94" in result.stderr
    assert "--prior" in result.stderr
    assert "no recording" not in run(verify, *pair, "--prior", 0.5).stderr
    calibrate(model, score=1.2, weight=5.0)
    assert run(verify, *pair, "--threshold", 0.99).stderr.count("no recording can") == 0


def test_what_no_claim_of_the_list_reached_is_told(model, enrolled, voices):
    calibrate(model, score=0.99)
    result = claim_of(model, enrolled, voices["bea1"], "--prior", "1e-30")
    assert "no claim of the list dev_trials reaches the threshold of 69.08" in result.stderr
    result = run(identify, "--model", model, "--store", enrolled, "--prior", "1e-30", voices["bea1"])
    assert "no claim of the list dev_trials reaches the threshold" in result.stderr


def test_recordings_are_short_where_the_calibration_has_not_seen_such(model, enrolled, voices):
    calibrate(model, score=0.5, seconds=(0.5, 9.0))
    assert "shortest" not in claim_of(model, enrolled, voices["abe1"]).stderr
    calibrate(model, score=0.5, seconds=(2.0, 9.0))
    assert (
        "1.20 s of sound; the shortest recording that the calibration was fitted on has 2.00 s"
        in claim_of(model, enrolled, voices["abe1"]).stderr
    )


def test_words_that_people_type_list_and_remove(enrolled):
    assert run(store, "list", enrolled).stdout == run(store, enrolled).stdout
    assert "removed abe" in run(store, "remove", enrolled, "abe").stderr
    assert run(store, enrolled).stdout.split()[0] == "bea"
    wrong = run(store, "show", enrolled)
    assert wrong.exit_code == 2 and "--remove SPEAKER" in wrong.stderr
