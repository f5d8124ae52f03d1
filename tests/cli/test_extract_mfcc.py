"""sv-extract-mfcc as a command."""

from __future__ import annotations

import dataclasses

from click.testing import CliRunner

from sv_toolkit.cli.extract_mfcc import command
from sv_toolkit.cli.feature_options import MFCC_HELP
from sv_toolkit.features.mfcc import MfccConfig
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.manifest import read_manifest


def run(*arguments, code=0):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], prog_name="sv-extract-mfcc")
    assert result.exit_code == code, result.output
    return result


def test_every_option_of_the_cepstra_is_on_the_command_line_with_its_default():
    fields = {field.name: field.default for field in dataclasses.fields(MfccConfig)}
    assert {*MFCC_HELP, "sample_rate", "use_log_fbank"} == set(fields)
    for name, (_, text) in MFCC_HELP.items():
        default = fields[name] * 1000 if name in ("frame_length", "frame_shift") else fields[name]
        shown = {True: "yes", False: "no"}[default] if isinstance(default, bool) else default
        shown = f"{shown:g}" if isinstance(shown, (int, float)) else shown
        assert text.endswith(f"[{shown}]"), f"--help of {name} says another default than {shown}"


def test_options_have_kaldis_names(recordings, tmp_path):
    options = "--num-ceps=20 --num-mel-bins=30 --use-energy=false --cepstral-lifter=0 --snip-edges=false --nj=1"
    result = run(*options.split(), recordings, tmp_path / "out")
    assert "24 matrices of 20 columns" in result.stderr
    assert ScpReader(tmp_path / "out" / "feats.scp").shape("s0-u00") == (50, 20)
    made = read_manifest(tmp_path / "out", "mfcc").job["config"]
    assert (made["use_energy"], made["cepstral_lifter"]) == (False, 0.0)


def test_the_configuration_file_has_a_table_for_cepstra(recordings, tmp_path):
    (tmp_path / "features.toml").write_text("[fbank]\nnum_mel_bins = 64\n[mfcc]\nnum_ceps = 19\n")
    run("--config", tmp_path / "features.toml", "--nj", 1, recordings)
    assert ScpReader(recordings / "feats.scp").shape("s0-u00")[1] == 19


def test_a_wrong_value_is_one_line(recordings):
    result = run("--num-ceps", 30, recordings, code=1)
    assert result.stderr == "sv-extract-mfcc: error: options: num_ceps must lie in [1, num_mel_bins], got 30 with 23 mel bins\n"
