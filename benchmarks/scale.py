"""Data directories of a million utterances and more: CPU seconds and memory to read their tables, and to validate them.

Each measurement runs in a process of its own; memory is what it takes at its peak beyond an idle process that has imported the
same modules.  Times for 36 million utterances, the size of the training set of Wan et al. 2018, are extrapolated.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402
from common import RESULTS  # noqa: E402

WANTED = 36_000_000


def make_tables(folder: Path, count: int) -> None:
    """Tables of `count` utterances of 50 for each speaker, as extraction writes them, and empty archives."""
    folder.mkdir()
    root = "/data/voxceleb2/fbank"
    with (
        open(folder / "utt2spk", "w") as utt2spk,
        open(folder / "wav.scp", "w") as wav,
        open(folder / "feats.scp", "w") as feats,
        open(folder / "vad.scp", "w") as vad,
        open(folder / "utt2num_frames", "w") as frames,
        open(folder / "spk2utt", "w") as spk2utt,
    ):
        for first in range(0, count, 50):
            speaker = f"id{first // 50:08d}"
            ids = [f"{speaker}-{i:05d}" for i in range(50)]
            utt2spk.writelines(f"{key} {speaker}\n" for key in ids)
            wav.writelines(f"{key} /data/voxceleb2/wav/{speaker}/{i:05d}.wav\n" for i, key in enumerate(ids))
            feats.writelines(f"{key} {root}/feats.{first // 10_000:04d}.ark:{(first + i) * 48_030 + 15}\n" for i, key in enumerate(ids))
            vad.writelines(f"{key} {root}/vad.{first // 10_000:04d}.ark:{(first + i) * 1_230 + 15}\n" for i, key in enumerate(ids))
            frames.writelines(f"{key} {300 + i}\n" for i, key in enumerate(ids))
            spk2utt.write(f"{speaker} {' '.join(ids)}\n")


def idle(folder: Path) -> object:
    """Nothing: the memory of a process that has imported what the others need."""
    return None


def to_arrays(folder: Path) -> object:
    """utt2spk, feats.scp, vad.scp and utt2num_frames as arrays."""
    from sv_toolkit.io.archives import read_scp
    from sv_toolkit.io.table_arrays import read_integers, read_words

    found = read_words(folder / "utt2spk")
    assert found is not None
    ids = found[0]
    tables = found, read_scp(folder / "feats.scp", ids), read_scp(folder / "vad.scp", ids), read_integers(folder / "utt2num_frames", ids)
    assert all(table is not None for table in tables)
    return tables


def validated(folder: Path) -> object:
    """What `sv-validate-data` finds."""
    from sv_toolkit.data.validation import examine

    findings = examine(folder)
    assert not findings.problems, findings.problems
    return findings


def apart(run: Callable[[Path], object], folder: Path) -> tuple[float, float]:
    """CPU seconds, and peak memory in MB, of `run` in a new process."""
    answers = multiprocessing.get_context("spawn").SimpleQueue()
    process = multiprocessing.get_context("spawn").Process(target=_measure, args=(run, folder, answers))
    process.start()
    seconds, megabytes = answers.get()
    process.join()
    return seconds, megabytes


def _measure(run: Callable[[Path], object], folder: Path, answers) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    import sv_toolkit.data.feature_index  # noqa: F401
    import sv_toolkit.data.validation  # noqa: F401

    started = time.process_time()
    kept = run(folder)
    answers.put((time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    del kept


def main() -> None:
    """Print seconds and MB for each size, and keep them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, action="append", help="utterances; may be given again [default: one and ten million]")
    given = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as root:
        for size in given.size or [1_000_000, 10_000_000]:
            folder = Path(root) / str(size)
            make_tables(folder, size)
            _, base = apart(idle, folder)
            for name, run in (("tables to arrays", to_arrays), ("sv-validate-data", validated)):
                seconds, megabytes = apart(run, folder)
                results.setdefault(name, {})[str(size)] = [seconds, megabytes - base]
                print(
                    f"{size:>11,} utterances  {name:18s} {seconds:7.2f} s CPU  {megabytes - base:8.0f} MB above an idle process", flush=True
                )
    for name, own in results.items():
        if len(own) > 1:
            sizes, values = np.array([int(size) for size in own], float), np.array(list(own.values()))
            slope, first = np.polyfit(sizes, values, 1)
            seconds, megabytes = slope * WANTED + first
            print(f"{WANTED:>11,} utterances  {name:18s} {seconds:7.0f} s CPU  {megabytes:8.0f} MB, extrapolated")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "scale.json").write_text(json.dumps({"benchmark": "scale", "unit": "CPU seconds, MB", "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
