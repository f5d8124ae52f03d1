"""sv-extract-fbank as a command: Kaldi's options, configuration files, exit codes, and being killed."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from sv_toolkit.cli.extract_fbank import command
from sv_toolkit.cli.feature_options import FBANK_HELP, WINDOWS
from sv_toolkit.features.fbank_config import WINDOW_TYPES, FbankConfig
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.manifest import read_manifest
from sv_toolkit.io.tables import read_table, write_table

SHIM = Path(__file__).resolve().parents[2] / "bin" / "sv-extract-fbank"


def run(*arguments, code=0):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], prog_name="sv-extract-fbank")
    assert result.exit_code == code, result.output
    return result


def config_of(folder):
    return read_manifest(folder, "fbank").job["config"]


def test_every_option_of_the_filter_bank_is_on_the_command_line():
    fields = {field.name: field for field in dataclasses.fields(FbankConfig)}
    assert {*FBANK_HELP, "sample_rate"} == set(fields)
    assert WINDOWS == WINDOW_TYPES
    for name, (_, text) in FBANK_HELP.items():
        default = fields[name].default
        shown = {True: "yes", False: "no"}[default] if isinstance(default, bool) else default
        shown = f"{default * 1000:g}" if name.startswith("frame_") else f"{shown:g}" if isinstance(shown, (int, float)) else shown
        assert text.endswith(f"[{shown}]"), f"--help of {name} says another default than {shown}"


def test_features_go_to_the_data_directory_by_default(recordings):
    result = run(recordings, "--nj", 1)
    assert len(ScpReader(recordings / "feats.scp")) == 24
    assert result.stdout == ""
    assert "24 matrices of 40 columns" in result.stderr


def test_options_have_kaldis_names_and_units(recordings, tmp_path):
    out = tmp_path / "out"
    options = "--num-mel-bins=23 --frame-shift=20 --frame-length=32 --window-type=hamming --low-freq=100 --high-freq=-500"
    run(*options.split(), "--snip-edges=false", "--use-energy=true", "--sample-frequency=16000", "--nj=1", recordings, out)
    made = config_of(out)
    assert (made["num_mel_bins"], made["frame_shift"], made["frame_length"], made["window_type"]) == (23, 0.02, 0.032, "hamming")
    assert (made["snip_edges"], made["use_energy"], made["low_freq"], made["high_freq"]) == (False, True, 100.0, -500.0)
    assert ScpReader(out / "feats.scp").shape("s0-u00") == (25, 24)


@pytest.mark.parametrize(
    "options, expected", [(["--no-snip-edges"], False), (["--snip-edges"], True), (["--snip-edges=true"], True), ([], True)]
)
def test_switches_come_in_both_styles(recordings, tmp_path, options, expected):
    run(*options, "--nj=1", recordings, tmp_path / "out")
    assert config_of(tmp_path / "out")["snip_edges"] is expected


def test_the_command_line_wins_over_the_configuration_file(recordings, tmp_path):
    config = tmp_path / "features.toml"
    config.write_text("[fbank]\nnum_mel_bins = 30\nframe_shift = 0.02\n[vad]\nkind = 'energy'\n")
    run("--config", config, "--num-mel-bins", 24, "--nj", 1, recordings, tmp_path / "out")
    assert (config_of(tmp_path / "out")["num_mel_bins"], config_of(tmp_path / "out")["frame_shift"]) == (24, 0.02)


@pytest.mark.parametrize(
    "text, message",
    [
        ("[fbank]\nnum_mel_bin = 40\n", "unknown key 'num_mel_bin', did you mean 'num_mel_bins'?"),
        ("[fbanks]\nnum_mel_bins = 40\n", "unknown table 'fbanks', did you mean 'fbank'?"),
        ("[fbank]\nnum_mel_bins = '40'\n", "num_mel_bins needs a whole number"),
        ("fbank = 3\n", "a table of keys is needed"),
        ("[fbank\n", "not TOML"),
    ],
)
def test_a_wrong_configuration_is_one_line_that_names_it(recordings, tmp_path, text, message):
    config = tmp_path / "features.toml"
    config.write_text(text)
    result = run("--config", config, recordings, tmp_path / "out", code=1)
    assert "features.toml" in result.stderr
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "options, message",
    [
        (["--nj", "0"], "--nj"),
        (["--nj", "abc"], "--nj"),
        (["--snip-edges=maybe"], "takes true or false, got 'maybe'"),
        (["--window-type", "square"], "povey"),
        (["--num-mel-bin", "3"], "--num-mel-bins"),
    ],
)
def test_a_wrong_command_line_is_status_2(recordings, options, message):
    assert message in run(*options, recordings, code=2).stderr


def test_values_out_of_range_are_refused(recordings):
    assert "num_mel_bins 999 is too large" in run("--num-mel-bins=999", recordings, code=1).stderr
    assert not (recordings / "feats.scp").exists()


def test_a_missing_directory_is_one_line(tmp_path):
    result = run(tmp_path / "none", code=1)
    assert "does not exist" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_recording_is_named_and_allowed_by_max_bad(recordings, tmp_path):
    wav = read_table(recordings / "wav.scp")
    write_table(recordings / "wav.scp", {**wav, "s1-u01": str(tmp_path / "nofile.wav")})
    refused = run("--nj=1", recordings, tmp_path / "out", code=1)
    assert "s1-u01" in refused.stderr
    assert "nofile.wav" in refused.stderr
    allowed = run("--nj=1", "--max-bad=1", recordings, tmp_path / "out")
    assert "warning: 1 of 24 utterances skipped, see skipped.tsv: s1-u01: " in allowed.stderr


def test_a_second_run_says_that_there_is_nothing_to_do(recordings):
    run("--nj=1", recordings)
    assert "already done" in run("--resume", recordings).stderr
    assert "--overwrite" in run("--num-mel-bins=20", recordings, code=1).stderr
    run("--num-mel-bins=20", "--overwrite", recordings)
    assert ScpReader(recordings / "feats.scp").shape("s0-u00")[1] == 20


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_killed_twice_it_ends_with_the_same_bytes(recordings, tmp_path):
    wav = read_table(recordings / "wav.scp")
    write_table(recordings / "wav.scp", {key: f"sleep 0.05; cat {value} |" for key, value in wav.items()})
    out = tmp_path / "out"
    arguments = [sys.executable, str(SHIM), "--allow-pipes", "--nj", "2", "--dither", "1", str(recordings), str(out)]
    assert subprocess.run(arguments, capture_output=True, timeout=120).returncode == 0
    undisturbed = files_of(out)
    for path in sorted(out.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    for num_records in (1, 2):
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE, start_new_session=True)
        deadline = time.monotonic() + 60
        while len(list(out.glob(".feats.partial/*.json"))) < num_records and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert not (out / "feats.scp").exists()
        assert not (out / "fbank.manifest.json").exists()
    assert subprocess.run(arguments, capture_output=True, timeout=120).returncode == 0
    assert files_of(out) == undisturbed


@pytest.mark.slow
def test_two_at_once_do_not_mix(recordings, tmp_path):
    wav = read_table(recordings / "wav.scp")
    write_table(recordings / "wav.scp", {key: f"sleep 0.1; cat {value} |" for key, value in wav.items()})
    arguments = [sys.executable, str(SHIM), "--allow-pipes", "--nj", "1", str(recordings), str(tmp_path / "out")]
    first = subprocess.Popen(arguments, stderr=subprocess.PIPE)
    while not (tmp_path / "out" / ".feats.partial" / "job").exists():
        time.sleep(0.01)
    second = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert f"in use by process {first.pid}" in second.stderr
    first.communicate(timeout=60)
    assert first.returncode == 0


def test_starting_up_imports_neither_torch_nor_scipy():
    program = (
        "import sys; import sv_toolkit.extraction.fbank, sv_toolkit.extraction.vad, sv_toolkit.extraction.control;"
        "print([name for name in ('torch', 'scipy', 'kaldiio') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(SHIM.parent.parent)}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert result.stdout.strip() == "[]", result.stderr
