"""docs/python_api.md: every block runs, in order."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sv_toolkit.backends.calibration import Calibration, FitList, write_calibration

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python_api.md"


def test_every_example_of_the_page_runs(voice_model, write_voice, tmp_path, monkeypatch, capsys):
    model = voice_model("exp-ge2e")
    shutil.copytree(model, tmp_path / "exp" / "ge2e")
    curve = ((-5.0, 1.0, 0.0), (6.0, 0.0, 0.6))
    calibration = Calibration((10.0,), -4.0, prior=0.05, list=FitList("dev_trials", "0" * 12, 10, 10), curve=curve)
    write_calibration(tmp_path / "exp" / "ge2e" / "calibration.json", calibration)
    for name, pitch in (("alice-1", 200), ("alice-2", 205), ("bob-1", 100), ("bob-2", 103)):
        write_voice(name, pitch)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    namespace: dict[str, object] = {}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"docs/python_api.md, block {number}", "exec"), namespace)
    told = capsys.readouterr().out
    assert "silent: all 16000 samples are 0" in told
    assert re.search(r"^(accept|reject) at the threshold", told, re.MULTILINE)
    assert list(namespace["read_store"]("speakers").speakers) == ["alice", "bob"]
