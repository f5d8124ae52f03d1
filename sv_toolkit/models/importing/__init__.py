"""Models of other programs, made into model folders: one module for each kind of source, named in `IMPORTERS`."""

from __future__ import annotations

from sv_toolkit.models.importing.onnx_graph import import_onnx
from sv_toolkit.models.importing.resemblyzer import import_resemblyzer

IMPORTERS = {"onnx": import_onnx, "resemblyzer": import_resemblyzer}
