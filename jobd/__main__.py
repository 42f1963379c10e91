"""jobd's entry point: argv to Config to keeper, in the foreground or in the background."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from jobd import config as configuration
from jobd.core import paths
from jobd.keeper import detach, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobd.config import Config

LOG_FILE = "jobd.log"


def main(argv: list[str] | None = None) -> int:
    """Run jobd. Returns its exit status: 0 after an orderly end, 1 when it could not start, 2 for wrong usage."""
    words = sys.argv[1:] if argv is None else argv
    if len(words) == 2 and words[0] in ("--resume", "--rehearse") and words[1].isdigit():
        return start.resume(int(words[1])) if words[0] == "--resume" else start.rehearse(int(words[1]))
    try:
        config = configuration.parse(words)
    except configuration.UsageError as e:
        configuration.fail(str(e))
        sys.stderr.write(configuration.USAGE + "\n")
        return 2
    if isinstance(config, str):
        sys.stdout.write(config)
        return 0
    if isinstance(config, configuration.Check):
        from jobd import checkconfig  # it needs what the keeper does not load

        return checkconfig.run(config.config_dir, config.mode)
    return daemonize(config) if config.daemonize else start.run(config)


def daemonize(config: Config) -> int:
    """Start in the background. Returns when jobd is ready (0), or has said why it cannot be (1)."""
    detach.leave_caller()
    if config.mode == paths.USER:
        config.inherited = detach.undo_limits()
    reader, writer = os.pipe()
    first = os.fork()
    if first:
        os.close(writer)
        with suppress(ChildProcessError):  # whoever started us ignores SIGCHLD
            os.waitpid(first, 0)
        with open(reader, encoding="utf-8", errors="replace") as file:
            said = file.read()
        if said == "ready":
            return 0
        configuration.fail(said or f"cannot start: it ended early; see {config.state_dir}/{LOG_FILE}")
        return 1
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(reader)
    config.ready_fd = writer
    return start.run(config, LOG_FILE)


if __name__ == "__main__":
    sys.exit(main())
