"""Arrays with a description: NAME.json and NAME.safetensors in a folder, neither of which can run code, strictly read.

The description is JSON: `format`, `toolkit_version`, what its owner says about the arrays, and their size and SHA-256.  It is
written last, so that a folder with a description has the arrays it speaks of; a reader that comes between the two files sees
arrays of another digest and says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sv_toolkit import __version__
from sv_toolkit.errors import MALFORMED, ModelError, SvError, plain
from sv_toolkit.io.files import make_directory, read_json, regular_file, sha256_bytes, whole_binary, write_text

Content = TypeVar("Content")
Arrays = TypeVar("Arrays")
FORMAT = 1
MAX_DESCRIPTION_BYTES = 1 << 24


def _no_hint(path: Path) -> str:
    return ""


@dataclass(frozen=True)
class Keeper:
    """One kind of described arrays.

    Attributes:
        name: of the files, without ending.
        key: of size and digest in the description.
        what: it is, for messages: "a model".
        maker: the command that makes it.
        hint: what a file that stands in place of the folder looks like, for people whose download went wrong.
    """

    name: str
    key: str
    what: str
    maker: str
    hint: Callable[[Path], str] = _no_hint

    @property
    def arrays(self) -> str:
        """The name of the file of arrays."""
        return f"{self.name}.safetensors"

    @property
    def description(self) -> str:
        """The name of the description."""
        return f"{self.name}.json"

    def save(self, folder: Path, blob: bytes, content: dict[str, Any]) -> None:
        """Write both files, each whole or absent.

        Args:
            blob: the arrays in the safetensors format.
            content: what else the description says, JSON-ready.
        """
        make_directory(folder)
        with whole_binary(folder / self.arrays) as stream:
            stream.write(blob)
        known = {"size": len(blob), "sha256": sha256_bytes(blob)}
        content = {"format": FORMAT, "toolkit_version": __version__, **content, self.key: known}
        write_text(folder / self.description, json.dumps(content, indent=1, sort_keys=True) + "\n")

    def read(self, folder: Path, parse: Callable[[dict[str, Any], str], Content]) -> tuple[Content, dict[str, Any]]:
        """The description, and `size` and `sha256` of the arrays; these are not looked at.

        Args:
            parse: makes of the JSON object, and the name of its file for messages, what the owner needs; what it raises
                where something is missing or of another kind says that the description is damaged.

        Raises:
            ModelError: no such folder, or its description is missing, damaged or of another version.
        """
        path = self._file(folder, self.description)
        where = plain(path)
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            raise ModelError(f"{where}: {path.stat().st_size} bytes is too large for the description of {self.what}")
        try:
            content = read_json(path)
            if content["format"] != FORMAT:
                found = plain(content["format"])
                raise ModelError(f"{where}: format version {found}, this toolkit ({__version__}) reads version {FORMAT}")
            known = {"size": int(content[self.key]["size"]), "sha256": str(content[self.key]["sha256"])}
            return parse(content, where), known
        except MALFORMED:
            raise ModelError(f"{where}: is not the description of {self.what} of this toolkit, or it is truncated") from None

    def load(self, folder: Path, known: dict[str, Any], decode: Callable[[bytes], Arrays]) -> Arrays:
        """The arrays that the description speaks of.

        Args:
            decode: `load` of safetensors, for numpy or torch.

        Raises:
            ModelError: they are missing, truncated, corrupt or of another folder.
        """
        path = self._file(folder, self.arrays)
        size = path.stat().st_size
        if size != known["size"]:
            raise ModelError(f"{plain(path)}: {size} bytes, {known['size']} were written: truncated, or the arrays of another folder")
        blob = path.read_bytes()
        if sha256_bytes(blob) != known["sha256"]:
            raise ModelError(f"{plain(path)}: corrupt: its checksum is not the one in {self.description}")
        return decoded(path, blob, decode)

    def _file(self, folder: Path, name: str) -> Path:
        if not folder.exists():
            raise ModelError(f"{plain(folder)}: no such folder; {self.maker} makes {self.what}")
        if not folder.is_dir():
            files = f"{self.arrays} and {self.description}"
            raise ModelError(
                f"{plain(folder)}: is a file; {self.what} is a folder with {files}, as {self.maker} makes it{self.hint(folder)}"
            )
        path = folder / name
        if not regular_file(path):
            raise ModelError(f"{plain(path)}: missing: {plain(folder)} is not {self.what}, or {self.maker} has not finished it")
        return path


def decoded(path: Path, blob: bytes, decode: Callable[[bytes], Arrays], error: type[SvError] = ModelError) -> Arrays:
    """The arrays in the bytes of a safetensors file.

    Args:
        path: of the file, for messages.
        decode: `load` of safetensors, for numpy or torch.

    Raises:
        SvError: of the class `error`, where the bytes are something else.
    """
    from safetensors import SafetensorError

    try:
        return decode(blob)
    except (SafetensorError, ValueError, KeyError, TypeError) as reason:
        raise error(f"{plain(path)}: not a safetensors file: {plain(reason)}") from None
