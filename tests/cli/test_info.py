"""sv-info: what a model is, as a command."""

from __future__ import annotations

from dataclasses import replace

from click.testing import CliRunner

from sv_toolkit.backends.calibration import Calibration, FitList, write_calibration
from sv_toolkit.cli.info import command, flat
from sv_toolkit.models.store import model_digest

CALIBRATION = Calibration(
    (10.0,), -4.0, prior=0.05, list=FitList("dev_trials", "4301b6749d9e", 10, 20), curve=((-5.0, 1.0, 0.0), (6.0, 0.0, 0.6))
)


def rows(model):
    result = CliRunner().invoke(command, [str(model)])
    assert result.exit_code == 0, result.stderr
    return dict(line.split(" ", 1) for line in result.stdout.splitlines())


def test_features_sizes_window_and_digest_are_told(voice_model):
    model = voice_model()
    told = rows(model)
    assert told["architecture"] == "lstm"
    assert told["network.embedding_dim"] == "5"
    assert int(told["weights_bytes"]) == (model / "model.safetensors").stat().st_size
    assert (told["windows.window"], told["window_seconds"]) == ("40", "0.4")
    assert (told["fbank.num_mel_bins"], told["vad.kind"], told["vad.energy.energy_threshold_below_max"]) == ("20", "energy", "6.9")
    assert told["digest"] == model_digest(model)


def test_the_calibration_is_told_with_its_list_or_its_absence_with_the_way_out(voice_model):
    model = voice_model()
    assert rows(model)["calibration"].startswith("none; sv-calibrate TRIALS SCORES --model")
    write_calibration(model / "calibration.json", CALIBRATION)
    told = rows(model)
    assert (told["calibration.prior"], told["calibration.threshold"]) == ("0.05", "2.944439")
    assert told["calibration.false_alarm_rate"] == str(round(CALIBRATION.rates_at(2.944439)[0], 6))
    assert (told["calibration.list.name"], told["calibration.list.hash"]) == ("dev_trials", "4301b6749d9e")
    write_calibration(model / "calibration.json", replace(CALIBRATION, model="b" * 64))
    assert rows(model)["calibration"] == f"of another model, {'b' * 64}"


def test_tables_within_tables_become_dotted_keys():
    assert flat({"data": {"a": {"digest": "x", "weight": 1.0}}, "steps": 3}) == {"data.a.digest": "x", "data.a.weight": 1.0, "steps": 3}
