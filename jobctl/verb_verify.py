"""verify: what is wrong with job files, without a daemon; and what this machine has not got for them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import CheckedFiles, JsonOutput, Quiet


def verify(client: Client, files: CheckedFiles, *, quiet: Quiet = False, output: JsonOutput = None) -> int:
    """Say what is wrong with job files; no jobd is needed. Exits with 6 if anything is.

    A file is NAME.toml, or the directory that has some, or - for stdin. The drop-ins beside it, in NAME.toml.d, are
    read too. Of what a job names, files that are given or that lie beside it are known.
    """
    from jobctl import checking  # which loads the parser of job files; the help reads this module

    return checking.run(list(files), client.target.mode == "system", quiet, output)
