"""Features that a command needs and that nobody has made yet; not a command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sv_toolkit.cli.common import Progress


def make_missing_features(data: Sequence[Path], model: Path | None = None, num_jobs: int | None = None, max_bad: int = 0) -> None:
    """Features and voice activity for those of the data directories that have recordings and no feats.scp.

    They are made as the model needs them; without one, as `FrontEndOptions` has them.  Several processes of torchrun would
    write at once: they are told by the command to extract first.
    """
    waiting = [path for path in data if (path / "wav.scp").exists() and not (path / "feats.scp").exists()]
    if not waiting or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return
    from sv_toolkit.extraction.missing import FrontEndOptions, make_missing
    from sv_toolkit.extraction.pipeline import RunOptions

    wanted = FrontEndOptions()
    if model is not None:
        from sv_toolkit.embeddings.waveform import front_end
        from sv_toolkit.errors import plain
        from sv_toolkit.models.store import read_description

        made = front_end(read_description(model)[0], plain(model))
        wanted = FrontEndOptions(made.config, made.vad)
    features, vad = (RunOptions(num_jobs, max_bad, False, partial(Progress, what=what)) for what in ("features", "voice activity"))
    for path in waiting:
        make_missing(path, wanted, features, vad)
