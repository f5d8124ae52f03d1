"""Options: what is read, what is refused."""

from __future__ import annotations

import pytest

from sv_toolkit.errors import ConfigError
from sv_toolkit.ivector.config import FrameConfig, IvectorConfig, TotalVariabilityConfig, UbmConfig, read_ivector_config


def test_tables_and_overrides_are_read(tmp_path):
    path = tmp_path / "ivector.toml"
    path.write_text("[frames]\ncmvn = 'level'\n[ubm]\nnum_components = 32\n")
    made = read_ivector_config(path, {"ubm.num_components": 16, "total_variability.ivector_dim": 7})
    assert made == IvectorConfig(FrameConfig(cmvn="level"), UbmConfig(num_components=16), TotalVariabilityConfig(ivector_dim=7))


@pytest.mark.parametrize(
    "text, message",
    [
        ("[umb]\n", "unknown key 'umb', did you mean 'ubm'"),
        ("[ubm]\nnum_component = 3\n", "ubm: unknown key 'num_component', did you mean 'num_components'"),
        ("[ubm]\nvariance_floor = 2.0\n", "variance_floor"),
        ("[ubm]\nmin_posterior = 0.5\n", "min_posterior"),
        ("[ubm]\ncovariance = 'tied'\n", "covariance must be one of full, diagonal, got 'tied'"),
        ("[ubm]\nfull_iterations = -1\n", "full_iterations must be at least 0"),
        ("[ubm]\nsubsample = 0\n", "subsample must be at least 1"),
        ("[frames]\ncmvn = 'global'\n", "none, level, utterance, sliding, got 'global'"),
        ("[frames]\ncmvn = 'level'\ncmvn_variance = true\n", "cmvn_variance needs cmvn utterance or sliding"),
        ("[frames]\ndelta_order = -1\n", "delta_order must be at least 0"),
        ("[total_variability]\nivector_dim = 0\n", "ivector_dim must be at least 1"),
        ("[ubm]\nseed = -1\n", "seed must be at least 0"),
        ("[total_variability]\nseed = -1\n", "seed must be at least 0"),
        ("ubm = 3\n", "ubm: a table of keys is needed"),
    ],
)
def test_what_means_nothing_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "ivector.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_ivector_config(path, {})


def test_an_override_of_what_is_no_table_is_refused(tmp_path):
    path = tmp_path / "ivector.toml"
    path.write_text("ubm = 3\n")
    with pytest.raises(ConfigError, match="'ubm' needs a table"):
        read_ivector_config(path, {"ubm.seed": 1})
