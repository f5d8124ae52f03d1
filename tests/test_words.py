"""Words that docs/style.md replaces stay out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UNWANTED = {
    r"\bmend(s|ed|ing)?\b": "fix, repair",
    r"\btalk\b": "messages",
    r"\bby lot\b": "at random",
    r"\bof before\b": "previous, earlier",
    r"\b(not|just) told from\b": "not significant, just significant",
    r"\bblind (system|cost)": "trivial system",
    r"\brising map\b": "monotone map",
    r"\bdo(es)? not listen\b|\bnot listening\b": "accept all, reject all",
    r"\bthe house\b": "the architecture, the project",
    r"\bdealt (out|into)\b": "split, assigned",
    r"\bfor who cannot\b": "for readers who cannot",
    r"\bas ever\b": "as usual",
    r"\bwho hears\b": "where ... is reported",
    r"\bsigns of life\b": "heartbeat",
    r"\bdisturb(ed|ances?)\b": "augmentation",
    r"\bin \w+ looks\b|\bthe best look\b": "validation",
}
ALLOWED = {"docs/style.md", "tests/test_words.py"}  # where the words themselves are the subject


def texts():
    """Files that people read: code, documents, shell and configurations."""
    if (ROOT / ".git").exists():
        names = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True).stdout.split("\n")
    else:
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if ".venv" not in path.parts]
    wanted = (".py", ".md", ".sh", ".toml")
    return [name for name in names if name.endswith(wanted) and name not in ALLOWED and (ROOT / name).is_file()]


@pytest.mark.parametrize(("pattern", "instead"), UNWANTED.items(), ids=list(UNWANTED.values()))
def test_words_of_the_style_guide_stay_out(pattern, instead):
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name in texts()
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line, re.IGNORECASE)
    ]
    assert found == [], f"write {instead} (docs/style.md)"
