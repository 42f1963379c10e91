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

    After make install or pipx (from 1.8), bash with bash-completion and fish find it by themselves. For zsh, and
    after uv tool install or pip in a venv, one line makes it known:

      ~/.bashrc                   eval "$(jobctl completion bash)"
      ~/.zshrc, after compinit    eval "$(jobctl completion zsh)"
      ~/.config/fish/config.fish  jobctl completion fish | source
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
