"""completion: the files that teach a shell to complete jobctl, for who installed it where no shell looks for them."""

from __future__ import annotations

import os

from jobctl import completions, terminal
from jobctl.exits import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.client import Client
    from jobctl.options import ShellName


def completion(_client: Client, shell: ShellName) -> int:
    """Print the completion script of a shell.

    make install, and pip outside of a venv, put it where the shell finds it by itself. Elsewhere (pipx, uv tool, a
    venv) one line makes it known:

      bash, in ~/.bashrc:  eval "$(jobctl completion bash)"
      zsh, in ~/.zshrc after compinit:  eval "$(jobctl completion zsh)"
      fish, once:  jobctl completion fish > ~/.config/fish/completions/jobctl.fish
    """
    if len(shell) != 1:
        raise UsageError("cannot print more than one script at a time")
    name = os.path.basename(shell[0])  # so that "$SHELL" will do
    if name not in completions.FILES:
        from jobd.core.names import closest

        meant = closest(name, completions.FILES)
        hint = f"did you mean {meant}?" if meant else f"there are {', '.join(completions.FILES)}"
        raise UsageError(f"cannot complete in {name!r}; {hint}")
    terminal.write(completions.read(name))
    return 0
