from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from sv_toolkit.errors import ConfigError
from sv_toolkit.losses.registry import LOSSES
from sv_toolkit.models.registry import ARCHITECTURES
from sv_toolkit.training.config import SECTIONS, SourceConfig, read_train_config, train_config
from sv_toolkit.training.named import config_text, find_config, meanings, named_configs


@pytest.fixture
def read_back(tmp_path):
    def read(text):
        (tmp_path / "printed.toml").write_text(text, encoding="utf-8")
        return read_train_config(tmp_path / "printed.toml", {})

    return read


EVERY = [*SECTIONS.values(), SourceConfig, *(entry[0] for entry in ARCHITECTURES.values()), *(entry[0] for entry in LOSSES.values())]


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.__name__)
def test_every_option_says_what_it_means(cls):
    said = meanings(cls)
    assert [field.name for field in dataclasses.fields(cls) if not said.get(field.name)] == []


@pytest.mark.parametrize("name", sorted(named_configs()))
def test_a_named_configuration_is_accepted_and_its_printed_form_is_the_same(name, read_back):
    config = read_train_config(find_config(Path(name)), {})
    assert read_back(config_text(config)) == config


def test_the_defaults_are_printed_with_their_meanings_and_read_back(read_back):
    config = train_config({}, "none")
    text = config_text(config)
    assert read_back(text) == config
    assert "# steps between log lines.\nlog_interval = 50\n" in text


def test_sums_of_losses_are_printed_as_they_are_read(read_back):
    terms = {"loss": {"terms": [{"name": "ge2e"}, {"name": "softmax", "weight": 0.5}]}}
    config = train_config(terms, "terms")
    assert read_back(config_text(config)) == config


def test_a_file_goes_before_a_name_and_an_unknown_name_lists_the_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(Path("ge2e-lstm")) == named_configs()["ge2e-lstm"]
    (tmp_path / "ge2e-lstm").write_text("")
    assert find_config(Path("ge2e-lstm")) == Path("ge2e-lstm")
    assert find_config(Path("conf/x.toml")) == Path("conf/x.toml")
    with pytest.raises(ConfigError, match="--config ge2e-lsmt: no such file, and no configuration of the package; these are .*ge2e-lstm"):
        find_config(Path("ge2e-lsmt"))


def test_the_package_ships_them():
    assert '"configs/*.toml"' in (Path(__file__).resolve().parents[2] / "setup.py").read_text()
