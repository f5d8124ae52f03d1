"""Where a number comes from: commit, day, machine."""

from __future__ import annotations

import platform
import re
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from sv_toolkit import __version__
from sv_toolkit.io.workers import available_cpus


@dataclass(frozen=True)
class Provenance:
    """What stands beside a result, as text."""

    commit: str
    date: str
    hardware: str
    wall_time: str
    command: str


def provenance(wall_time: float | None, command: str) -> Provenance:
    """This checkout, this day (UTC), this machine.

    Args:
        wall_time: seconds that the whole run took; None where nobody measured.
    """
    today = datetime.now(timezone.utc).date().isoformat()
    return Provenance(commit(), today, hardware(), "" if wall_time is None else duration(wall_time), command)


def commit() -> str:
    """The commit that the toolkit's code is at, `+changes` if its files differ from it; the version outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # else git would look for a checkout further up, of something else
        return f"version {__version__}"
    try:
        head = _git(root, "rev-parse", "--short=10", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ":(exclude)*.md")
    except (OSError, subprocess.SubprocessError):
        return f"version {__version__}"
    return head + ("+changes" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30, stdin=subprocess.DEVNULL).stdout.strip()


def hardware() -> str:
    """Processor model and the number of cores this process may use."""
    cores = available_cpus()
    return "; ".join([f"{_processor()}, {cores} core{'s' if cores > 1 else ''}", *_gpus()])


def _gpus(proc: Path = Path("/proc/driver/nvidia")) -> list[str]:
    """Models of the GPUs, their driver, and the versions of torch and cuDNN; nothing where there is no GPU.

    From files alone: torch takes two seconds to import.
    """
    found = [file.read_text(encoding="utf-8", errors="replace") for file in sorted(proc.glob("gpus/*/information"))]
    names = [line.partition(":")[2].strip() for text in found for line in text.splitlines() if line.startswith("Model")]
    if not names:
        return []
    driver = re.search(r"\d+\.\d+(\.\d+)?", (proc / "version").read_text(encoding="utf-8", errors="replace"))
    versions = [f"driver {driver[0]}"] if driver else []
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if name == "torch" or name.startswith("nvidia-cudnn"):
            versions.append(f"{'cuDNN' if name != 'torch' else 'torch'} {distribution.version}")
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    return [", ".join([*(f"{count} x {name}" for name, count in counts.items()), *sorted(versions)])]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine() or "unknown processor"


def duration(seconds: float) -> str:
    """Minutes and seconds.

    >>> duration(425.2)
    '7 min 05 s'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
