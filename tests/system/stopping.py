"""Programs that start a jobd of their own, and are stopped by Ctrl-C or SIGTERM: nothing of it is left then."""

from __future__ import annotations

import signal
import sys
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
STOPPED: Final = 128 + signal.SIGINT  # the exit status, as a shell tells it


def stop_in_order() -> None:
    """From now on the first of these signals is an exit, by way of all that has to be cleaned up; others do nothing."""
    for sig in SIGNALS:
        signal.signal(sig, _stop)


def _stop(*_: object) -> None:
    for sig in SIGNALS:
        signal.signal(sig, signal.SIG_IGN)
    sys.exit(STOPPED)
