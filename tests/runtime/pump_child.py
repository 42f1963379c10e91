"""A pump in a process of its own, to be killed.

`python -m tests.runtime.pump_child DIRECTORY OUT ERR [RELAY_READ RELAY_WRITE]`.

The directory's parent holds the relay's note.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from jobd.runtime.pump import Pump
from jobd.runtime.pump_relay import Relay

RUN = bytes(15) + b"\1"


def main() -> None:
    directory, out, err = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    relay = None
    if len(sys.argv) > 4:
        relay = Relay(int(sys.argv[4]), int(sys.argv[5]), str(directory.parent / "relay"))
    woken = threading.Event()
    pump = Pump(woken.set, relay=relay)
    pump.start()
    pump.add(RUN, directory, out, err)
    os.write(1, b"ready\n")
    while not any(notice.kind == "eof" for notice in pump.take()):
        woken.wait(60)
        woken.clear()
    pump.stop()
    os.write(1, b"done\n")


if __name__ == "__main__":
    main()
