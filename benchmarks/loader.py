"""Crops a second that one core makes for training: from memory, from archives, with noise and rooms; and one sampled batch.

The limit beside them is a plain copy of as many bytes.  `--utterances` sets the size of the data set (features of a few
archives are used again and again, by offset, so that a million utterances need no more disk than a thousand).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from common import alternate, save  # noqa: E402

from sv_toolkit.data.feature_index import FeatureIndex  # noqa: E402
from sv_toolkit.features.prepare import InputConfig  # noqa: E402
from sv_toolkit.io.archives import write_ark_scp  # noqa: E402
from sv_toolkit.io.memory import keep_freed_memory  # noqa: E402
from sv_toolkit.training.augment import Augmentation  # noqa: E402
from sv_toolkit.training.batches import Source, make_batch  # noqa: E402
from sv_toolkit.training.config import AugmentConfig, BatchConfig  # noqa: E402
from sv_toolkit.training.examples import Examples, select_usable  # noqa: E402
from sv_toolkit.training.frames import ArchiveFrames, Frames, MemoryFrames  # noqa: E402
from sv_toolkit.training.index import index_part  # noqa: E402
from sv_toolkit.training.sampling import draw_batch  # noqa: E402

DIM, FRAMES, CROPS = 40, 300, 640
CPU = torch.device("cpu")


def make_data(folder: Path, num_speakers: int, num_utterances: int, stored: int) -> None:
    """A data directory of `num_speakers` x `num_utterances` whose features are `stored` matrices, used in turn."""
    rng = np.random.default_rng(0)
    names = [f"s{i // num_utterances:06d}-{i % num_utterances:04d}" for i in range(num_speakers * num_utterances)]
    write_ark_scp(folder, "few", {name: rng.normal(8, 3, (FRAMES, DIM)).astype(np.float32) for name in names[:stored]})
    places = [line.split(maxsplit=1)[1] for line in (folder / "few.scp").read_text().splitlines()]
    (folder / "utt2spk").write_text("".join(f"{name} {name[:7]}\n" for name in names))
    (folder / "feats.scp").write_text("".join(f"{name} {places[i % stored]}\n" for i, name in enumerate(names)))


def examples_of(index: FeatureIndex, in_memory: bool) -> Examples:
    """Material of a data directory, its frames in memory or read from the archives."""
    table = index_part(index, range(index.num_utterances), False)
    usable = select_usable(index, table, 180, 10)
    config = InputConfig(use_vad=False)
    on_disk = ArchiveFrames(index, table, config, usable.utterances)
    frames: Frames = MemoryFrames(on_disk) if in_memory else on_disk
    return Examples(frames, usable, table, config, index.ids, {})


def main() -> None:
    """Print milliseconds for 640 crops, and crops a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speakers", type=int, default=200)
    parser.add_argument("--per-speaker", type=int, default=20)
    parser.add_argument("--stored", type=int, default=4000, help="feature matrices that are there; further utterances use them again")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory(1 << 30)
    rng = np.random.default_rng(1)
    batch = BatchConfig(64, 10, 140, 180)
    noises = [rng.normal(6, 2, (500, DIM)).astype(np.float32) for _ in range(60)]
    rooms = [np.exp(-np.arange(40)[:, None] / rng.uniform(3, 9)) * np.ones(DIM) for _ in range(20)]
    rooms = [room / room.sum(axis=0) for room in rooms]
    augmentations = {
        "plain": Augmentation(AugmentConfig()),
        "noise on half": Augmentation(AugmentConfig(0.5), noises),
        "noise 0.8, rooms 0.5": Augmentation(AugmentConfig(0.8, reverb_probability=0.5), noises, rooms),
        "masks": Augmentation(AugmentConfig(time_masks=2, frequency_masks=2)),
    }
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder), given.speakers, given.per_speaker, given.stored)
        index = FeatureIndex(Path(folder), need_vad=False)
        sources = {
            place: Source("a", 1.0, examples_of(index, place == "memory"), batch, np.arange(given.speakers))
            for place in ("memory", "archives")
        }
        memory = sources["memory"].examples
        memory.frames.crops(np.arange(len(memory)), np.zeros(len(memory), int), 1)  # read everything
        step = iter(range(10**9))
        contenders = {
            f"{name}, {place}": lambda augment=augment, source=source: make_batch(source, augment, [0, 0], next(step))
            for name, augment in augmentations.items()
            for place, source in sources.items()
        }
        whole = torch.randn(CROPS, 160, DIM)
        contenders["copy of as many bytes"] = whole.clone
        contenders["sampling alone"] = lambda: draw_batch(memory, batch, np.random.default_rng([0, next(step)]))
        started = time.perf_counter()
        times = alternate(contenders, rounds=15)
        print(f"{time.perf_counter() - started:.0f} s, {index.num_utterances} utterances")
    rates = {name: CROPS / sorted(values)[len(values) // 2] for name, values in times.items()}
    save("loader", times, "copy of as many bytes", "CPU of one batch of 64 x 10 crops of 140 to 180 frames x 40", crops_per_second=rates)
    for name, rate in rates.items():
        print(f"  {name:28s} {rate:10.0f} crops/s")


if __name__ == "__main__":
    main()
