"""The model that comes with the toolkit: there, small, described, calibrated, and used where no other is named."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import sv_toolkit
from sv_toolkit.backends.calibration import read_calibration
from sv_toolkit.models.ready import FOLDER, NAME, model_folder
from sv_toolkit.models.store import load_model, model_digest

ROOT = Path(__file__).resolve().parents[2]
AN4 = ROOT.parent / "shared/corpora/an4/wav/an4test_clstk"
LARGEST = 12_000_000  # bytes of the folder; the wheel has at most 15 MB


def command(name, *words, cwd):
    return subprocess.run(
        [sys.executable, str(ROOT / "bin" / name), *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """Two recordings of one person and one of another."""
    if not AN4.is_dir():
        pytest.skip("shared/corpora/an4 is not there")
    folder, found = tmp_path_factory.mktemp("voices"), {}
    for name, (speaker, position) in {"a": ("fcaw", 0), "b": ("fcaw", -1), "c": ("marh", 0)}.items():
        samples, rate = soundfile.read(sorted((AN4 / speaker).glob("*.flac"))[position])
        found[name] = folder / f"{name}.wav"
        soundfile.write(found[name], samples, rate)
    return found


def test_the_folder_is_whole_small_and_has_a_card():
    network, description = load_model(FOLDER)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= LARGEST
    assert {"fbank", "vad"} <= description.features.keys()
    card = (FOLDER / "CARD.md").read_text(encoding="utf-8")
    for heading in ("## Data", "## Error rates", "## What it must not be used for", "## How it was trained"):
        assert heading in card
    assert model_digest(FOLDER)[:16] in card
    assert f"{sum(parameter.numel() for parameter in network.parameters()):,}".replace(",", " ") in card


def test_its_calibration_is_its_own_and_can_accept_at_its_prior():
    found = read_calibration(FOLDER)
    assert found.model == model_digest(FOLDER)
    assert found.scoring == "cosine"
    assert found.quality_names
    assert any(llr >= found.threshold(found.prior) and misses < 0.5 for llr, _, misses in found.curve)


def test_no_path_of_a_machine_is_in_it():
    for name in ("model.json", "calibration.json", "CARD.md"):
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert "/home/" not in text and "/work/" not in text and "/tmp/" not in text


@pytest.mark.parametrize("given", [None, NAME, Path(NAME)])
def test_default_and_nothing_name_it(given):
    assert model_folder(given) == FOLDER


def test_another_folder_stays_what_it_is(tmp_path):
    assert model_folder(tmp_path) == tmp_path
    assert model_folder(str(tmp_path)) == tmp_path


def test_three_lines_of_python_give_vector_score_and_decision(voices):
    model = sv_toolkit.load()
    vector = model.embed_file(voices["a"]).vector
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    same, other = model.verify(voices["a"], voices["b"]), model.verify(voices["a"], voices["c"])
    assert same.accepted and not other.accepted
    assert same.score == pytest.approx(model.score(voices["a"], voices["b"]), abs=1e-6)


def test_verify_without_a_model_says_on_stderr_which_it_takes(voices, tmp_path):
    same = command("sv-verify", "--json", voices["a"], voices["b"], cwd=tmp_path)
    other = command("sv-verify", "--json", voices["a"], voices["c"], cwd=tmp_path)
    assert (json.loads(same.stdout)["decision"], json.loads(other.stdout)["decision"]) == ("accept", "reject")
    assert "ready model" in same.stderr
    assert len(same.stderr.splitlines()) == 1


def test_enroll_and_identify_without_a_model(voices, tmp_path):
    assert command("sv-enroll", "--store", "store", "--speaker", "anna", voices["a"], cwd=tmp_path).returncode == 0
    found = command("sv-identify", "--store", "store", voices["b"], cwd=tmp_path)
    assert "speaker anna" in found.stdout
    assert "ready model" in found.stderr


def test_importing_the_package_loads_neither_torch_nor_numpy():
    code = "import sys, sv_toolkit; print(sorted({'torch', 'numpy', 'soundfile'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "[]"
