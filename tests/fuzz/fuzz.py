"""Fuzz one reader with coverage: `python tests/fuzz/fuzz.py TARGET SECONDS FOLDER` (needs the package atheris).

The corpus grows in `FOLDER/TARGET`; an input that raises anything but `SvError`, or takes 20 s, ends the run and stays there.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "fuzz")]
with atheris.instrument_imports(include=["sv_toolkit"]):
    from fuzz_targets import TARGETS

    import sv_toolkit.backends.fusion
    import sv_toolkit.backends.kaldi_plda
    import sv_toolkit.backends.store
    import sv_toolkit.data.skipped
    import sv_toolkit.data.trials
    import sv_toolkit.data.validation
    import sv_toolkit.io.archives
    import sv_toolkit.io.audio
    import sv_toolkit.io.manifest
    import sv_toolkit.io.pcm
    import sv_toolkit.models.store
    import sv_toolkit.training.config
    import sv_toolkit.training.resume
    import sv_toolkit.verification.store  # noqa: F401


def main() -> None:
    """Run the fuzzer until its time is over."""
    name, seconds, root = sys.argv[1], sys.argv[2], Path(sys.argv[3]).absolute()
    target, corpus = TARGETS[name], root / name
    corpus.mkdir(parents=True, exist_ok=True)
    logging.disable()
    with TemporaryDirectory(dir="/dev/shm") as scratch:
        folder = Path(scratch)
        target.prepare(folder)
        for place, seed in enumerate(target.seeds(folder)):
            (corpus / f"seed-{place}").write_bytes(seed)
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={target.largest}",
            "-timeout=20",
            "-rss_limit_mb=4096",
            f"-artifact_prefix={root}/{name}-",
        ]
        atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], lambda data: target.try_bytes(folder, data) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
