"""Tensors of a PyTorch checkpoint of strangers: nothing in it runs, and every shape is compared before it is used."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sv_toolkit.errors import ModelError, plain
from sv_toolkit.io.files import regular_file

MAX_BYTES = 1 << 28  # of a checkpoint, and of what its archive unpacks to


def read_checkpoint(content: bytes) -> object:
    """What the checkpoint holds, by torch's reader that knows tensors and plain containers and calls nothing else.

    Raises:
        ModelError: it is none, it is damaged, too large, or its pickle would run code.
    """
    _refuse_large(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of pickles that it then refuses
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except MemoryError:
        raise ModelError("it declares tensors that do not fit into memory") from None
    except Exception as error:  # torch's unpickler raises many kinds
        found = re.search(r"(?:GLOBAL|global|class) ([\w.]+)", str(error))
        cause = (
            f"its pickle names {plain(found[1])}, which could run code" if found else f"damaged, or no checkpoint ({type(error).__name__})"
        )
        raise ModelError(f"not a checkpoint of tensors alone: {cause}") from None


def _refuse_large(content: bytes) -> None:
    size = len(content)
    if zipfile.is_zipfile(io.BytesIO(content)):
        try:
            size = sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(content)).infolist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            raise ModelError("not a checkpoint of tensors alone: damaged archive") from None
    if size > MAX_BYTES:
        raise ModelError(f"{size} bytes of tensors; at most {MAX_BYTES} are read")


def read_source(source: Path, member: str = "") -> bytes:
    """The bytes of the file, or of `member` where the file is a wheel.

    Raises:
        ModelError: no such file, too large, or a wheel without it.
    """
    if not regular_file(source):
        raise ModelError(f"{plain(source)}: no such file; give the checkpoint of the model")
    if source.suffix != ".whl" and source.stat().st_size > MAX_BYTES:
        raise ModelError(f"{plain(source)}: {source.stat().st_size} bytes; at most {MAX_BYTES} are read")
    if source.suffix != ".whl":
        return source.read_bytes()
    try:
        with zipfile.ZipFile(source) as wheel:
            if wheel.getinfo(member).file_size > MAX_BYTES:
                raise ModelError(f"{plain(source)}: {member} is larger than {MAX_BYTES} bytes")
            return wheel.read(member)
    except KeyError:
        raise ModelError(f"{plain(source)}: holds no {member}") from None
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError):
        raise ModelError(f"{plain(source)}: is no wheel, or damaged") from None


def checked_tensors(found: object, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of `found` by name, exactly those of `shapes`, finite, as float32 of their own memory.

    Raises:
        ModelError: names what is missing, too much, of another shape or kind, or not finite.
    """
    table = found if isinstance(found, dict) else {}
    missing, extra = sorted(shapes.keys() - table.keys()), sorted(map(str, table.keys() - shapes.keys()))
    if missing or extra:
        words = [
            f"{len(names)} {kind} ({plain(', '.join(names[:3]))})" for kind, names in (("missing", missing), ("unknown", extra)) if names
        ]
        raise ModelError(f"its tensors are not those of this model: {', '.join(words)}")
    for name, shape in shapes.items():
        tensor = table[name]
        if type(tensor) is not Tensor or tensor.layout != torch.strided or not tensor.is_floating_point():
            raise ModelError(f"{name} is no dense tensor of floating-point numbers")
        if tuple(tensor.shape) != shape:
            raise ModelError(f"{name} has shape {tuple(tensor.shape)}, needed is {shape}")
    tensors = {name: table[name].detach().to(torch.float32).clone(memory_format=torch.contiguous_format) for name in shapes}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{name} holds values that are not finite (NaN or Inf)")
    return tensors
