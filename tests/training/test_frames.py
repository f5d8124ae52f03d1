"""Crops are the selected frames of their utterances, whichever place they come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import ArchiveError
from sv_toolkit.features.prepare import InputConfig, select_frames
from sv_toolkit.io.archives import ScpReader, write_ark_scp
from sv_toolkit.training.frames import ArchiveFrames, DeviceFrames, MemoryFrames, hold_frames
from sv_toolkit.training.index import index_part

CPU = torch.device("cpu")


@pytest.fixture
def open_frames(data):
    """A function that gives frames from the archives of `data`, and the selected frames of every utterance read the slow way."""

    def opened(config=None):
        config = config or InputConfig()
        index = FeatureIndex(data, need_vad=config.use_vad)
        table = index_part(index, range(index.num_utterances), config.use_vad)
        slow = [select_frames(*index.read_at(place), config) for place in range(index.num_utterances)]
        return ArchiveFrames(index, table, config, np.arange(index.num_utterances)), slow

    return opened


def rewrite(folder, change):
    """Write the features of `folder` again, changed."""
    reader = ScpReader(folder / "feats.scp")
    write_ark_scp(folder, "feats", {key: change(reader.read(key)) for key in reader.keys()})  # noqa: SIM118


def expected_crop(frames, start, num_frames, context):
    cyclic = frames[(start + np.arange(num_frames)) % len(frames)]
    before = [frames[t] if t >= 0 else np.full(frames.shape[1], -np.inf) for t in range(start - context, start)]
    return np.concatenate([np.array(before).reshape(context, frames.shape[1]), cyclic]).astype(np.float32)


PLACES, STARTS = np.array([3, 0, 7, 3, 11]), np.array([4, 0, 1, 0, 9])


@pytest.mark.parametrize("config", [InputConfig(), InputConfig(use_vad=False), InputConfig(cmvn="sliding", cmvn_window=9)], ids=str)
@pytest.mark.parametrize("context", [0, 3, 12])
def test_crops_from_archives_memory_and_device_are_the_selected_frames_to_the_bit(open_frames, config, context):
    source, slow = open_frames(config)
    expected = np.stack([expected_crop(slow[place], start, 10, context) for place, start in zip(PLACES, STARTS)])
    for frames in (source, MemoryFrames(source), DeviceFrames(source, CPU)):
        for _ in range(2):  # the second time they are there
            np.testing.assert_array_equal(frames.crops(PLACES, STARTS, 10, context).numpy(), expected)


@pytest.mark.parametrize("context", [0, 5])
def test_an_utterance_shorter_than_the_crop_is_repeated_from_its_beginning(open_frames, context):
    source, slow = open_frames()
    places = np.array([2, 5])
    expected = np.stack([expected_crop(slow[place], 0, 150, context) for place in places])
    for frames in (source, MemoryFrames(source), DeviceFrames(source, CPU)):
        np.testing.assert_array_equal(frames.crops(places, np.zeros(2, int), 150, context).numpy(), expected)


@pytest.mark.parametrize("kind", ["double", "compressed", "range"])
def test_records_that_are_not_plain_float32_give_the_same_frames(data, open_frames, kind):
    if kind == "double":
        rewrite(data, lambda features: features.astype(np.float64))
    elif kind == "compressed":
        reader = ScpReader(data / "feats.scp")
        write_ark_scp(data, "feats", {key: reader.read(key) for key in reader.keys()}, "CM2")  # noqa: SIM118
    else:
        lines = (data / "feats.scp").read_text().splitlines()
        (data / "feats.scp").write_text("".join(f"{line}[3:24]\n" for line in lines))
    source, slow = open_frames(InputConfig(use_vad=False))
    assert (source.table.position < 0).all() == (kind != "range")
    expected = np.stack([expected_crop(slow[place], start, 10, 0) for place, start in zip(PLACES, STARTS)])
    np.testing.assert_array_equal(source.crops(PLACES, STARTS, 10).numpy(), expected)


def test_frames_go_where_there_is_room(open_frames):
    source, slow = open_frames()
    size = sum(map(len, slow)) * 6 * 4
    assert isinstance(hold_frames(source, size, CPU, 0), MemoryFrames)
    assert isinstance(hold_frames(source, size - 1, CPU, 0), ArchiveFrames)


def test_memory_reads_an_utterance_when_it_is_first_drawn_and_never_again(open_frames, monkeypatch):
    source, _ = open_frames()
    frames, read = MemoryFrames(source), []
    monkeypatch.setattr(source, "read", lambda place, start, stop, out: read.append(place) or out.fill(place))
    for _ in range(2):
        frames.crops(PLACES, STARTS, 10)
    assert sorted(read) == [0, 3, 7, 11]


def test_an_archive_that_was_cut_short_is_an_error_that_names_the_utterance(data, open_frames):
    source, _ = open_frames()
    (archive,) = data.glob("feats*.ark")
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(ArchiveError, match="s05-u3: .*truncated"):
        source.crops(np.array([23]), np.array([0]), 10)
