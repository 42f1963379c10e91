"""Turn off the controllers of a unit's runs: what systemd does between two keepers (ExecStopPost=).

A cgroup with controllers for those below it takes no process, and systemd before 254 starts a service nowhere else.
While a run has survived its keeper, no next one could therefore be started (219/CGROUP), over and over. The next keeper
turns them on again. This runs in a control process of the unit, beside the runs.
"""

from __future__ import annotations

import os
import sys

from jobd.keeper import cgroup


def unit_of(own: str) -> str:
    """The delegated cgroup that this process, one of the manager's, is in or below; "" if there is none."""
    while len(own) > 1:
        if unit := cgroup.delegated(own):
            return unit
        own = os.path.dirname(own)
    return ""


def release(unit: str) -> list[str]:
    """Turn off what is on, from below: a cgroup keeps what one in it still has on. Returns what could not be."""
    failed = []
    for directory, _, files in os.walk(unit, topdown=False):
        if "cgroup.subtree_control" not in files:
            continue
        path = directory + "/cgroup.subtree_control"
        try:
            with open(path, encoding="ascii") as file:
                for name in file.read().split():
                    cgroup.write(path, "-" + name)
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError as e:
            failed.append(f"{path}: {e.strerror}")
    return failed


def main() -> int:
    """The entry point. Returns the exit status."""
    unit = unit_of(cgroup.own_cgroup())
    failed = release(unit) if unit else []
    for why in failed:
        sys.stderr.write(f"jobd: cannot turn controllers off: {why}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
