"""The model that comes with the toolkit: what commands use where no other is named."""

from __future__ import annotations

from pathlib import Path

NAME = "default"
FOLDER = Path(__file__).resolve().parent.parent / "ready"


def model_folder(given: Path | str | None) -> Path:
    """The folder of a model: that of the ready one where none is given, or its name is; another path as it is."""
    return FOLDER if given is None or str(given) == NAME else Path(given)
