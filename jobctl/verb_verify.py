"""verify: what is wrong with job files, without a daemon; and what this machine has not got for them."""

from __future__ import annotations

from jobctl.exits import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import CalendarText, CheckedFiles, JsonOutput, Quiet


def verify(
    client: Client,
    files: CheckedFiles = (),
    *,
    calendar: CalendarText = (),
    quiet: Quiet = False,
    output: JsonOutput = None,
) -> int:
    """Say what is wrong with job files; no jobd is needed. Exits with 6 if anything is.

    A file is NAME.toml, or the directory that has some, or - for stdin. The drop-ins beside it, in NAME.toml.d, are
    read too. Of what a job names, files that are given or that lie beside it are known. With --calendar: what
    expressions of a schedule mean, and when they come next.
    """
    if calendar:
        if files:
            raise UsageError("cannot verify files and --calendar at a time")
        from jobctl import calendars

        return calendars.run(calendar, output)
    if not files:
        raise UsageError("verify needs FILE..., or --calendar EXPR; jobctl help verify says more")
    from jobctl import checking  # which loads the parser of job files; the help reads this module

    return checking.run(list(files), client.target.mode == "system", quiet, output)
