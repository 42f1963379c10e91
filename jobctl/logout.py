"""The hint that jobd leaves where a logout would end the caller's jobs: shown once, by what leaves jobs running."""

from __future__ import annotations

import os

from jobctl import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client


def tell(client: Client) -> None:
    """Show the hint that jobd has left, if a logout would end the jobs: once, and where somebody reads it."""
    found = client.target.found
    if found is None or not found.state_dir or not os.isatty(terminal.STDERR):
        return
    hint = f"{found.state_dir}/logout-hint"
    try:
        os.rename(hint, f"{hint}.told")  # of several jobctls one does
        with open(f"{hint}.told") as file:
            terminal.warn(file.read().rstrip("\n"))
    except OSError:
        return
