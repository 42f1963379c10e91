"""`jobd --check-config`: what a daemon would say of its configuration, without one."""

from __future__ import annotations

import os
import sys

from jobd.core import configfile, paths
from jobd.core.logline import printable
from jobd.host import ownfile
from jobd.host.accounts import Accounts


def run(config_dir: str, mode: str) -> int:
    """Say what is to be said of the jobd.toml in `config_dir`. Returns 0 when it can be taken, else 1."""
    path = os.path.join(config_dir, paths.CONFIG_FILE)
    trust = ownfile.Trust.of(system=mode == paths.SYSTEM)
    try:
        with ownfile.explained(path):
            policy = configfile.parse(ownfile.read(ownfile.open_regular(path, trust), path, trust), path, Accounts())
    except FileNotFoundError:
        if mode == paths.SOCKET and not os.path.isdir(config_dir):
            sys.stderr.write(f"{printable(config_dir)}: no such directory\n")
            return 1
        sys.stdout.write(f"{printable(path)}: not there; the defaults hold\n")
        return 0
    except configfile.ConfigError as error:
        sys.stderr.write("".join(f"{printable(problem)}\n" for problem in error.problems))
        return 1
    sys.stderr.write("".join(f"{warning}\n" for warning in policy.warnings))
    sys.stdout.write(f"{printable(path)}: ok\n")
    return 0
