"""conf/*.toml of every recipe: features and trainings that the commands accept, and what their comments promise."""

import re
from pathlib import Path

import pytest

from sv_toolkit.backends.backend import BackendConfig
from sv_toolkit.config import build, read_config
from sv_toolkit.features.fbank_config import FbankConfig
from sv_toolkit.features.mfcc import MfccConfig
from sv_toolkit.features.vad import VadConfig
from sv_toolkit.ivector.config import read_ivector_config
from sv_toolkit.keyword.config import read_keyword_config
from sv_toolkit.phonetic.config import read_phone_config
from sv_toolkit.reporting.experiments import read_experiment

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(ROOT.glob("egs/*/*/conf/**/*.toml"))
TRAININGS = [path for path in CONFIGS if "network" in read_config(path)]
KEYWORDS = [path for path in CONFIGS if "detector" in read_config(path)]
FEATURES = [path for path in CONFIGS if {"fbank", "mfcc", "vad"} & read_config(path).keys() and path not in KEYWORDS]
IVECTORS = [path for path in CONFIGS if "total_variability" in read_config(path)]
BACKENDS = [path for path in CONFIGS if "lda_dim" in read_config(path)]
PHONES = [path for path in CONFIGS if {"left", "right"} <= read_config(path).keys()]
EXPERIMENTS = [path for path in CONFIGS if "systems" in read_config(path)]


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT / "egs")))


def test_every_configuration_is_one_of_these():
    assert sorted(TRAININGS + FEATURES + IVECTORS + BACKENDS + EXPERIMENTS + PHONES + KEYWORDS) == CONFIGS
    assert len(TRAININGS) >= 10


@named(TRAININGS)
def test_a_training_configuration_is_accepted(path):
    from sv_toolkit.training.config import read_train_config

    read_train_config(path, {})


@named(FEATURES)
def test_a_feature_configuration_is_accepted(path):
    tables = read_config(path)
    assert tables.keys() <= {"fbank", "mfcc", "vad"}
    build(FbankConfig, tables.get("fbank", {}), str(path))
    build(MfccConfig, tables.get("mfcc", {}), str(path))
    build(VadConfig, tables.get("vad", {}), str(path))


@named(IVECTORS)
def test_an_ivector_configuration_is_accepted(path):
    read_ivector_config(path, {})


@named(PHONES)
def test_a_configuration_of_phones_is_accepted(path):
    read_phone_config(path, {})


@named(KEYWORDS)
def test_a_keyword_configuration_is_accepted(path):
    read_keyword_config(path, {})


@named(BACKENDS)
def test_a_back_end_configuration_is_accepted(path):
    build(BackendConfig, read_config(path), str(path))


@named(EXPERIMENTS)
def test_a_table_is_accepted_and_every_trained_system_of_it_has_a_configuration_at_every_scale(path):
    experiment = read_experiment(path)
    assert experiment.claims
    for system in experiment.systems:
        folder = system.scores.split("/")[0]
        for scale in ("small", "full"):
            assert system.deterministic or (path.parent / scale / f"{folder}.toml").is_file(), (system.name, scale)


FULL = [path for path in TRAININGS if path.parent.name == "full"]


@named(FULL)
def test_the_two_scales_of_a_system_differ_in_size_and_not_in_what_is_learned(path):
    from sv_toolkit.training.config import read_train_config

    full, small = read_train_config(path, {}), read_train_config(path.parent.parent / "small" / path.name, {})
    losses = [[term.name for term in config.loss.terms] for config in (full, small)]
    assert losses[0] == losses[1]
    assert (full.network.name, full.input) == (small.network.name, small.input)
    assert full.network.options != small.network.options


@named(FULL)
def test_a_step_at_full_scale_gives_finite_gradients(path):
    torch = pytest.importorskip("torch")
    from sv_toolkit.losses.registry import make_loss
    from sv_toolkit.losses.term import LossSize
    from sv_toolkit.models.registry import architecture_entry
    from sv_toolkit.training.config import read_train_config

    torch.manual_seed(0)
    config = read_train_config(path, {})
    network = architecture_entry(config.network.name)[1](64, config.network.options)
    embeddings = network.raw(torch.randn(6, 32, 64))
    loss = make_loss(config.loss, LossSize(3, config.network.options.embedding_dim))
    loss(embeddings.view(3, 2, -1), torch.tensor([[0, 0], [1, 1], [2, 2]])).loss.backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert len(gradients) > 2
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_the_losses_that_a_comment_offers_are_losses(tmp_path):
    from sv_toolkit.losses.registry import loss_config

    comment = [line for line in (ROOT / "egs/voxceleb/v1/conf/heo_resnet34.toml").read_text().splitlines() if line.startswith("#   ")]
    offered = [re.search(r"(terms = \[.*?\}\]|name = \S+, method = \S+)", line) for line in comment]
    assert len(offered) == 5
    assert all(offered)
    for match in offered:
        (tmp_path / "loss.toml").write_text(match[0].replace('", method', '"\nmethod'))
        loss_config(read_config(tmp_path / "loss.toml"), "comment")
