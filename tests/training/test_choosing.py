from __future__ import annotations

import logging

import pytest

from sv_toolkit.config import as_table
from sv_toolkit.errors import ConfigError
from sv_toolkit.models.store import WindowConfig, read_description
from sv_toolkit.training.choosing import chosen_tables, read_material, tables_of_model
from sv_toolkit.training.config import train_config
from sv_toolkit.training.index_store import no_progress


@pytest.fixture
def choose(data, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    caplog.set_level(logging.INFO, "sv_toolkit")

    def choose(init=None, **overrides):
        named = {key.replace("__", "."): value for key, value in overrides.items()}
        return chosen_tables({"train": data}, init, named, tmp_path, 0)

    return choose


def test_material_counts_the_frames_of_speech_of_every_utterance(data, tmp_path):
    found = read_material(data, tmp_path / "index", 0, no_progress)
    assert len(found.speaker) == len(found.num_frames) == 24
    assert len(set(found.speaker.tolist())) == 6
    assert found.num_frames.min() > 25 and found.num_frames.max() < 52, "every seventh of 30 to 60 frames is silence"


def test_what_was_chosen_is_told_with_the_way_to_see_and_change_it(choose, caplog):
    train_config(choose(), "x")
    assert "chosen for 6 speakers with 4 utterances" in caplog.text
    assert "--print-config" in caplog.text
    assert "--init default" in caplog.text


def test_the_command_line_goes_before_what_was_chosen_and_is_told(choose, caplog):
    tables = choose(trainer__steps=7, batch__num_speakers=2)
    assert (tables["trainer"]["steps"], tables["batch"]["num_speakers"]) == (7, 2)
    assert "batches of 2 x 4" in caplog.text and "7 steps" in caplog.text


@pytest.mark.parametrize("crop", [{"batch__max_frames": 5}, {"batch__min_frames": 40}, {"batch__min_frames": 4, "batch__max_frames": 6}])
def test_crops_of_the_command_line_need_no_other_option(choose, crop):
    batch = train_config(choose(**crop), "x").batch
    assert {f"batch__{name}": getattr(batch, name) for name in ("min_frames", "max_frames")}.items() >= crop.items()


def test_values_of_a_wrong_kind_are_refused_as_ever(choose):
    with pytest.raises(ConfigError, match="batch: max_frames needs a whole number"):
        train_config(choose(batch__max_frames="long"), "x")


def test_a_model_gives_its_network_input_and_windows(choose, voice_model, caplog):
    folder = voice_model(windows=(50, 25, 10))
    tables = choose(folder)
    config = train_config(tables, "x")
    description, _ = read_description(folder)
    assert tables_of_model(folder)["input"] == as_table(description.input)
    assert config.windows == WindowConfig(50, 25, 10)
    assert config.network.options.embedding_dim == description.network["embedding_dim"]
    assert "--init default" not in caplog.text
