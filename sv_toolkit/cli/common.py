"""What all commands share: one-line errors, exit codes, the common options, progress, where messages go.

Results go to stdout, messages to stderr.  Exit 0: done; 1: the data or a file is wrong; 2: the command line is wrong.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from sv_toolkit.cli import start
from sv_toolkit.cli.start import Terminated
from sv_toolkit.errors import SvError, plain

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
SECONDS_BETWEEN_LINES = 10.0
DECIMALS = 6  # of scores in files
REPORTED_P_TARGETS = (0.01, 0.05)  # priors of the costs that fits are judged by
LONGEST_LINE = 4000  # characters of an error that quotes something foreign


class FiniteRange(click.FloatRange):
    """A number in a range; click's own type lets nan through every bound."""

    def _describe_range(self) -> str:
        """Nothing where there are no bounds."""
        return super()._describe_range() if (self.min, self.max) != (None, None) else ""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, or a usage error."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


PRIOR = FiniteRange(0, 1, min_open=True, max_open=True)
SHARE = FiniteRange(0, 1)
FINITE = FiniteRange()
WALL_TIME = FiniteRange(min=0)


class SvCommand(click.Command):
    """A click command whose failures are one line on stderr and an exit code, never a traceback for what a user can cause."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", CONTEXT)
        super().__init__(*args, **kwargs)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **more: Any) -> Any:
        """Run the command as a program; first see to it that names of files are UTF-8 and that waiting threads sleep."""
        if args is None:
            read_names_as_utf8()
            let_waiting_threads_sleep()
        return super().main(args, *rest, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; end with its exit code."""
        name = ctx.info_name or "sv"
        log_to_stderr(name)
        start.raise_on_signals()
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except Exception as error:
            self._stop(name, start.received() or error)
        except (KeyboardInterrupt, Terminated) as error:
            self._stop(name, error)
        finally:
            start.end_at_once_on_signals()

    def _stop(self, name: str, error: BaseException) -> NoReturn:
        status, line = explain(error)  # raises what nobody foresaw again
        start.end_at_once_on_signals()
        if line:
            with contextlib.suppress(OSError):  # nobody reads stderr: the status says it
                click.echo(f"{name}: {line}", err=True)
        _forget_stdout()
        sys.exit(status)


def refuse_given(why: str, *names: str) -> None:
    """Stop where the command line gives options that the chosen way of working would pass over.

    Args:
        why: what they belong to: "belongs to --stream".
        names: of the parameters.

    Raises:
        click.UsageError: naming the first that was given.
    """
    for option in click.get_current_context().command.params:
        if option.name in names and is_given(option.name):
            raise click.UsageError(f"{option.opts[0]} {why}")


def is_given(name: str) -> bool:
    """Whether the command line, and not a default, says what the parameter is."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def read_names_as_utf8() -> None:
    """Start the interpreter anew in its UTF-8 mode where the locale says that names of files are something else.

    Tables are UTF-8 whatever the locale is, and so are the paths in them; Python's own switch for the C locale can be off.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.ignore_environment and os.environ.get("PYTHONUTF8") != "1":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1"})


def let_waiting_threads_sleep() -> None:
    """Have OpenMP put threads to sleep where they wait for each other; called before torch loads the library, which reads this once.

    By default they spin, and on a machine with other work each then takes the processor from the one it waits for: two
    threads were 40 times slower than one.  The user's own setting wins.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def explain(error: BaseException) -> tuple[int, str]:
    """Exit status and the line for stderr ("" for silence)."""
    if isinstance(error, (KeyboardInterrupt, Terminated)):
        return start.status_and_line(error.number if isinstance(error, Terminated) else signal.SIGINT)
    if isinstance(error, BrokenPipeError):
        return 141, ""
    if isinstance(error, SvError):
        text = str(error)
        return 1, f"error: {text[:LONGEST_LINE]}{'...' if len(text) > LONGEST_LINE else ''}"
    if isinstance(error, UnicodeEncodeError):
        return 1, f"error: not UTF-8, so it cannot be printed: {plain(error.object)}; rename that file"
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("sv_toolkit"):
        return (
            1,
            f"error: the package {error.name.partition('.')[0]} is needed and is not installed; see install_requires and extras in setup.py",
        )
    if isinstance(error, MemoryError):
        return 1, "error: out of memory; try a smaller --nj or smaller batches"
    if isinstance(error, OSError):
        what = os.strerror(error.errno) if error.errno else str(error)
        where = (
            f"{plain(error.filename)}: "
            if error.filename
            else "write failed: "
            if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EBADF)
            else ""
        )
        return 1, f"error: {where}{what}"
    raise error


def _forget_stdout() -> None:
    """Keep the interpreter from failing a second time when it flushes a stdout that cannot be written."""
    with contextlib.suppress(OSError, ValueError):  # full, closed, or no file at all
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        handle = sys.stdout.fileno()
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, handle)
        os.close(devnull)


class _MessageFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return prefix + record.getMessage()


def log_to_stderr(name: str) -> None:
    """Messages of the library's logger `sv_toolkit` as `name: warning: ...` lines on stderr."""
    handler = logging.StreamHandler()
    formatter = _MessageFormatter()
    handler.setFormatter(formatter)
    handler.addFilter(lambda record: _prefixed(record, name))
    logger = logging.getLogger("sv_toolkit")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _prefixed(record: logging.LogRecord, name: str) -> bool:
    if not getattr(record, "named", False):
        record.msg = f"{name}: {record.msg}" if record.levelno < logging.WARNING else record.msg
        record.named = True
    return True


class Progress:
    """A bar on a terminal, one line every ten seconds in a log, nothing for short work in a log."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what, self.done = total, what, 0
        self.next_line = time.monotonic() + SECONDS_BETWEEN_LINES
        self.bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc=what, unit="utt", leave=False)

    def __enter__(self) -> Callable[[int], None]:
        return self.advance

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self, count: int) -> None:
        """Note `count` more items as done."""
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        elif time.monotonic() >= self.next_line:
            logging.getLogger("sv_toolkit").info("%s: %d of %d", self.what, self.done, self.total)
            self.next_line = time.monotonic() + SECONDS_BETWEEN_LINES


def write_lines(lines: Iterable[bytes], output: Path | None) -> None:
    """Lines to the file `output`, whole or not at all, or to stdout."""
    from sv_toolkit.io.files import make_directory, remove_leftovers_of, whole_binary

    if output is None:
        sys.stdout.buffer.writelines(lines)
        sys.stdout.buffer.flush()
        return
    make_directory(output.parent)
    remove_leftovers_of(output)
    with whole_binary(output) as stream:
        stream.writelines(lines)


DIRECTORY = click.Path(path_type=Path)
FILE = click.Path(path_type=Path)


class ModelFolder(click.Path):
    """A model folder; `default` is the model that comes with the toolkit."""

    name = "model"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The folder; says so where it is the ready model's."""
        from sv_toolkit.models.ready import NAME, model_folder

        folder = model_folder(Path(str(super().convert(value, param, ctx))))
        if str(value) == NAME and ctx is not None and not ctx.resilient_parsing:
            click.echo(f"{ctx.info_name}: the ready model is used (sv-info {NAME}); --model names another", err=True)
        return folder


MODEL = ModelFolder()

nj_option = click.option(
    "--nj",
    "num_jobs",
    type=click.IntRange(min=1),
    default=None,
    help="Parallel jobs; the output does not depend on it.  [default: all processors]",
)


def share_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--part and --join, as the argument `share` of the command: for job arrays (`io.parts`)."""

    @functools.wraps(command)
    def shared(*arguments: Any, part: str | None, join: int | None, **options: Any) -> Any:
        return command(*arguments, share=_share(part, join), **options)

    part = click.option("--part", metavar="JOB/NJ", help="Do only this part, such as 2/4, as one job of an array; --join 4 follows.")
    return part(click.option("--join", type=click.IntRange(min=1), metavar="NJ", help="Join the NJ parts, once all are done.")(shared))


def _share(part: str | None, join: int | None) -> Any:
    if part is None and join is None:
        return None
    from sv_toolkit.io.parts import Join, parse_part

    if part is not None and join is not None:
        raise click.UsageError("--part and --join belong to different runs: first every part, then the join")
    try:
        return Join(join) if join is not None else parse_part(part or "")
    except ValueError as error:
        raise click.UsageError(f"--part: {error}") from None


def say_done(share: Any, sentence: str) -> None:
    """The last line of a command on stderr; of a part the library has said what it did."""
    from sv_toolkit.io.parts import Part

    if not isinstance(share, Part):
        click.echo(sentence, err=True)


max_bad_option = click.option(
    "--max-bad",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How many utterances may be skipped; each is listed in skipped.tsv.",
)
seed_option = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random choice.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what another run left in the output directory.")
for_kaldi_option = click.option(
    "--for-kaldi",
    is_flag=True,
    help="Write pipes of sox and flac instead of utt2speed and compressed files, for Kaldi's programs; here they need --allow-pipes.",
)
resume_option = click.option("--resume", is_flag=True, help="Go on with a half-finished run; this is what happens anyway.")
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where to compute: auto takes a GPU where there is one.",
)
trials_format_option = click.option(
    "--trials-format",
    type=click.Choice(["auto", "kaldi", "voxceleb", "cnceleb", "sitw"]),
    default="auto",
    show_default=True,
    help="Column order.",
)
num_bootstrap_option = click.option(
    "--num-bootstrap",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    callback=lambda _context, _option, value: _replicates(value),
    help="Replicates for intervals, two or more; 0 for none.",
)


def _replicates(value: int) -> int:
    if value == 1:
        raise click.BadParameter("one replicate has no deviation; 0 is for no intervals")
    return value


_p_target_option = click.option(
    "--p-target", type=PRIOR, multiple=True, help="Prior of a target for minDCF; may be given several times.  [default: 0.01 and 0.05]"
)
_operating_point_option = click.option(
    "--operating-point",
    "--cost",
    "cost",
    type=click.Choice(["voxceleb", "voxsrc", "sre08", "sre10", "sre16"]),
    multiple=True,
    help="minDCF at the operating points of an evaluation; may be given several times (sre16: mean over priors 0.01 and 0.005).",
)


def cost_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--p-target and --operating-point: where minDCF is taken."""
    return _p_target_option(_operating_point_option(command))


allow_pipes_option = click.option(
    "--allow-pipes", is_flag=True, help="Run the commands that wav.scp holds ('cmd |'); only for data that you trust."
)
