"""Training configurations: complete, strict, and helpful about what is wrong."""

from __future__ import annotations

import pytest

from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.registry import LOSSES
from sv_toolkit.losses.term import LossSize
from sv_toolkit.training.config import read_train_config, train_config


def test_the_defaults_are_the_papers_text_independent_system():
    config = train_config({}, "x")
    network, batch, optimizer, loss = config.network.options, config.batch, config.optimizer, config.loss.terms[0].options
    assert (network.hidden_size, network.projection_size, network.num_layers, network.embedding_dim) == (768, 256, 3, 256)
    assert (batch.num_speakers, batch.num_utterances, batch.min_frames, batch.max_frames) == (64, 10, 140, 180)
    assert (optimizer.name, optimizer.learning_rate, optimizer.clip) == ("sgd", 0.01, 3)
    assert (optimizer.projection_factor, optimizer.loss_factor) == (0.5, 0.01)
    assert (loss.scale, loss.offset) == (10, -5)
    assert (config.windows.window, config.windows.shift) == (160, 80)


def test_windows_follow_the_crops_unless_they_are_given():
    tables = {"batch": {"min_frames": 60, "max_frames": 80, "shortest": 25}}
    windows = train_config(tables, "x").windows
    assert (windows.window, windows.shift, windows.shortest) == (70, 35, 25)
    tables["windows"] = {"window": 100, "shift": 100, "shortest": 10}
    assert train_config(tables, "x").windows.window == 100


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"learing_rate": 1e-4}, r"'learing_rate'; did you mean 'learning_rate' in \[optimizer\]\?"),
        ({"optimizer": {"learing_rate": 1e-4}}, "optimizer: unknown key 'learing_rate', did you mean 'learning_rate'"),
        ({"optimizer": {"learning_rate": "1e-4"}}, "learning_rate needs a number, got str '1e-4'"),
        ({"optimizer": {"learning_rate": -1}}, "learning_rate must be in"),
        ({"optimizer": {"learning_rate": float("nan")}}, "learning_rate needs a finite number"),
        ({"batch": {"num_speakers": 0}}, "num_speakers .--speakers-per-batch. must be at least 1"),
        ({"batch": {"num_speakers": True}}, "needs a whole number"),
        ({"batch": {"min_frames": 200, "max_frames": 100}}, "max_frames"),
        ({"network": {"name": "transformer"}}, "no architecture 'transformer'; known: .*lstm"),
        ({"loss": {"name": "ge2e", "marigin": 0.3}}, "unknown key 'marigin'"),
        ({"network": []}, "network: a table of keys is needed"),
        ({"trainer": {"amp": "fp8"}}, "amp must be one of none, bf16, fp16"),
        ({"augment": {"noise_snr": [1.0]}}, "noise_snr needs 2 values"),
        ({"input": {"cmvn": "none", "cmvn_variance": True}}, "input: cmvn_variance needs cmvn level, utterance or sliding"),
        ({"optimizer": {"name": "adamw", "momentum": 0.9}}, "optimizer: momentum is an option of sgd .* adamw; leave it out"),
        ({"schedule": {"margin_warmup_steps": 9}}, "schedule: margin_warmup_steps needs a loss with a margin, ge2e has none"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(tables, message):
    with pytest.raises(ConfigError, match=message):
        train_config(tables, "conf/train.toml")


@pytest.mark.parametrize("loss", ["am_softmax", "aam_softmax", "triplet"])
def test_every_loss_whose_margin_grows_takes_a_warm_up(loss):
    config = train_config({"loss": {"name": loss}, "schedule": {"margin_warmup_steps": 9}}, "x")
    assert hasattr(LOSSES[loss][1](config.loss.terms[0].options, LossSize(3, 4)), "margin_factor")


def test_overrides_win_over_the_file(tmp_path):
    (tmp_path / "c.toml").write_text("[trainer]\nsteps = 5\nseed = 1\n")
    config = read_train_config(tmp_path / "c.toml", {"trainer.steps": 9, "network.hidden_size": 300})
    assert (config.trainer.steps, config.trainer.seed, config.network.options.hidden_size) == (9, 1, 300)
