"""One meaning of --device everywhere."""

from __future__ import annotations

import logging

import pytest
import torch

from sv_toolkit.errors import ModelError
from sv_toolkit.models.device import choose_device


@pytest.fixture
def there(monkeypatch):
    """A function that says which GPUs there are."""

    def set_(cuda, mps):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return set_


@pytest.mark.parametrize(("cuda", "mps", "found"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_a_gpu_where_there_is_one(there, cuda, mps, found):
    there(cuda, mps)
    assert choose_device("auto").type == found


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(there, name):
    there(False, False)
    with pytest.raises(ModelError, match=f"--device {name}: no GPU .* is available here; use --device cpu"):
        choose_device(name)


def test_that_there_is_no_gpu_is_told_where_it_matters(there, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    caplog.set_level(logging.INFO, "sv_toolkit")
    there(False, False)
    choose_device("auto")
    assert caplog.text == ""
    choose_device("auto", say=True)
    assert "no GPU found" in caplog.text
