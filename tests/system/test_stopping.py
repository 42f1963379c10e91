"""What is stopped cleans up, once."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.system.stopping import STOPPED

PROGRAM = """
import signal
from tests.system.stopping import stop_in_order
stop_in_order()
try:
    print("here", flush=True)
    signal.pause()
finally:
    signal.raise_signal(signal.SIGINT)
    print("cleaned", flush=True)
"""


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_interrupt_the_cleaning_up(sig: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        process.send_signal(sig)
        assert process.communicate() == (b"cleaned\n", b"")
        assert process.returncode == STOPPED
