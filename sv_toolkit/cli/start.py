"""The first and the last moments of a command, in which a signal is one line and an exit status, and never a traceback.

A command imports for seconds before it does anything.  A signal that becomes an exception then ends in whatever the module at
hand makes of it; nothing is begun yet, so the process says its line and ends at once.  While the command works, signals are
exceptions, so that locks and temporary files go (`cli.common`).  Only light modules are imported here.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, NoReturn

from sv_toolkit.cli import COMMANDS

CAUGHT = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
GOES_ON = "run the same command again to resume from what is complete"
SECONDS_TO_ASK_AGAIN = 0.02  # after a signal that came while an object was removed, where Python drops exceptions


class Terminated(BaseException):
    """SIGTERM or SIGHUP, as an exception, so that locks and temporary files are cleaned up."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(number)
        self.number = number


class _State:
    is_program = False  # started by `main`, and not called from Python
    received: int | None = None


def main() -> Any:
    """Run the command that the program's name says: of the shims in bin/ and of the console scripts."""
    _State.is_program = True
    open_standard_streams()
    end_at_once_on_signals()
    sys.unraisablehook = _ask_again
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 (pathlib takes milliseconds)
    return importlib.import_module("sv_toolkit.cli." + COMMANDS[name.removesuffix(".exe")]).command()


def open_standard_streams() -> None:
    """Give closed standard streams a place: the first file that is opened must not become stdout.

    Nothing can be read there, and what is written to stdout is an error of the system, as for every other program.
    """
    for handle, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(handle)
        except OSError:
            place = os.open(os.devnull, os.O_RDWR if handle == 2 else os.O_RDONLY)
            if place != handle:
                os.dup2(place, handle)
                os.close(place)
            setattr(sys, name, open(handle, "r" if handle == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def end_at_once_on_signals() -> None:
    """For a time without work: say the line and end.  Signals that the caller ignores (nohup) stay ignored."""
    if _State.is_program:
        _catch(_end)


def raise_on_signals() -> None:
    """For the time of work: a signal is an exception."""
    _State.received = None
    _catch(lambda number, frame: raise_for(number))


def raise_for(number: int) -> NoReturn:
    """Raise the exception of a signal."""
    _State.received = number
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def received() -> BaseException | None:
    """The signal that came during the work, as its exception, even if something made another error of it."""
    if _State.received is None:
        return None
    return KeyboardInterrupt() if _State.received == signal.SIGINT else Terminated(_State.received)


def status_and_line(number: int) -> tuple[int, str]:
    """Exit status of a command that the signal `number` ended, and what it says."""
    what = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}.get(signal.Signals(number), "hung up")
    return 128 + number, f"{what}; {GOES_ON}"


def _catch(handler: Any) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in CAUGHT:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    status, line = status_and_line(number)
    try:
        os.write(2, f"{os.path.basename(sys.argv[0])}: {line}\n".encode())  # noqa: PTH119
    finally:
        os._exit(status)


def _ask_again(unraisable: Any) -> None:
    """A signal whose exception Python would drop (in a finaliser, a callback) is sent once more, a moment later."""
    if not issubclass(unraisable.exc_type, (KeyboardInterrupt, Terminated)):
        sys.__unraisablehook__(unraisable)
        return
    number = _State.received or signal.SIGTERM
    again = threading.Timer(SECONDS_TO_ASK_AGAIN, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()
