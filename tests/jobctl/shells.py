"""Shells on a terminal of their own, into which a test types a line and a TAB, to see what they would offer.

Each shell notes what its completion found in a file that the test reads: what a terminal shows of it depends on the
terminal. bash and zsh run interactively on a pty, as their line editors make the words; fish answers `complete -C`.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jobctl import completions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

DEADLINE_SEC = 30.0
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")


class Typed:
    """An interactive shell on a pty."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], root: Path) -> None:
        self.answers = root / "answers"
        self.cwd = root / "cwd"
        self.cwd.mkdir(exist_ok=True)
        os.mkfifo(self.answers)
        self._master, slave = pty.openpty()
        self._shell = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=self.cwd,
            env={**env, "ANSWERS": str(self.answers), "TERM": "xterm", "HOME": str(root)},
            start_new_session=True,
        )
        os.close(slave)
        self._reader = os.open(self.answers, os.O_RDONLY | os.O_NONBLOCK)
        self._keep = os.open(self.answers, os.O_WRONLY)  # so that the reader never sees an end

    def __enter__(self) -> Typed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._shell.kill()
        self._shell.wait()
        for fd in (self._reader, self._keep, self._master):
            os.close(fd)

    def type(self, text: str) -> None:
        """Type into the terminal."""
        os.write(self._master, text.encode())

    def answer(self) -> list[str]:
        """The lines that the shell noted, up to the one that says that these are all."""
        noted, shown = b"", b""
        end = time.monotonic() + DEADLINE_SEC
        while not noted.endswith(b"--end--\n"):
            ready, _, _ = select.select([self._reader, self._master], [], [], max(0, end - time.monotonic()))
            assert ready, f"the shell notes nothing; it shows {shown!r}"
            if self._reader in ready:
                noted += os.read(self._reader, 1 << 16)
            if self._master in ready:  # what nobody reads would block it
                shown += os.read(self._master, 1 << 16)
        return noted.decode().splitlines()[:-1]

    def run(self, command: str) -> list[str]:
        """Type a command that notes something itself."""
        self.type(f"{command}; echo --end-- > $ANSWERS\n")
        return self.answer()

    def offers(self, line: str) -> list[str]:
        """What a TAB behind `line` offers, sorted."""
        self.type(f"{line}\t")
        found = self.answer()
        self.type("\x15")  # ^U: an empty line again
        return sorted({*found} - {""})

    def each_offers(self, lines: Sequence[str]) -> dict[str, list[str]]:
        """The same for many lines."""
        return {line: self.offers(line) for line in lines}

    def completed(self, line: str) -> str:
        """What a TAB makes of `line`."""
        self.type(f"{line}\t")
        self.answer()
        self.type("\x14")  # ^T, bound below: notes the line; no longer key begins with it
        (found,) = self.answer()
        self.type("\x15")
        return found


BASH_PROBE = r"""
probe() { _jobctl "$@"; printf '%s\n' ${COMPREPLY[@]+"${COMPREPLY[@]}"} --end-- > "$ANSWERS"; }
complete -F probe jobctl
note() { printf '%s\n' "$READLINE_LINE" --end-- > "$ANSWERS"; }
bind -x '"\C-t": note'
bind 'set bell-style none'
bind 'set completion-query-items 0'
bind 'set page-completions off'
"""


def bash(root: Path, env: Mapping[str, str], library: bool = False) -> Typed:
    """A bash that knows jobctl: by bash-completion, which finds the installed file, or by a line in ~/.bashrc."""
    rc = root / "bashrc"
    known = 'eval "$(jobctl completion bash)"'
    if library:
        known = f"source {BASH_COMPLETION}; _completion_loader jobctl"
        installed = root / "share/bash-completion/completions/jobctl"
        installed.parent.mkdir(parents=True)
        installed.write_bytes(completions.read("bash"))
        env = {**env, "XDG_DATA_HOME": str(root / "share")}
    rc.write_text(f"{known}\n{BASH_PROBE}")
    argv = [shutil.which("bash") or "bash", "--noprofile", "--rcfile", str(rc), "-i"]
    return Typed(argv, {**env, "INPUTRC": "/dev/null", "PS1": "$ "}, root)


ZSH_RC = """
fpath=(%s $fpath)
autoload -Uz compinit && compinit -D -u
%s
unsetopt beep
# Every match goes through compadd; with -O, -A or -D it is only looked for.
compadd() {
    if [[ ${@[1,(i)(-|--)]} != *-[OAD]\\ * ]]; then
        local -a found
        builtin compadd -O found "$@"
        print -rl -- $found >> "$ANSWERS"
    fi
    builtin compadd "$@"
}
probe() { _main_complete "$@"; print -r -- --end-- > "$ANSWERS"; compstate[list]=; }
zle -C probe complete-word probe
bindkey '^I' probe
note() { print -rl -- "$BUFFER" --end-- > "$ANSWERS"; }
zle -N note
bindkey '^T' note
"""


def zsh(root: Path, env: Mapping[str, str], evaluated: bool = False) -> Typed:
    """A zsh that knows jobctl: from its fpath, or by a line in ~/.zshrc."""
    found = (root / "nothing", 'eval "$(jobctl completion zsh)"') if evaluated else (completions.DIRECTORY, "")
    (root / ".zshrc").write_text(ZSH_RC % found)
    return Typed(["zsh", "-d", "-i"], {**env, "ZDOTDIR": str(root)}, root)


class Fish:
    """A fish that knows jobctl."""

    def __init__(self, root: Path, env: Mapping[str, str]) -> None:
        self.cwd = root / "cwd"
        self.cwd.mkdir(exist_ok=True)
        config = {f"XDG_{name}_HOME": str(root / name.lower()) for name in ("CONFIG", "DATA", "CACHE")}
        self.env = {**env, **config, "HOME": str(root)}
        self._first = ""

    def prepare(self, script: str) -> None:
        """Have this run before each line."""
        self._first = script

    def __enter__(self) -> Fish:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Nothing runs between two lines."""

    def offers(self, line: str) -> list[str]:
        """What a TAB behind `line` offers, sorted."""
        return self.each_offers([line])[line]

    def each_offers(self, lines: Sequence[str]) -> dict[str, list[str]]:
        """The same for many lines."""
        script = (
            f"{self._first}; source {completions.path('fish')}; for line in $argv; complete -C $line; echo --end--; end"
        )
        done = subprocess.run(
            ["fish", "-c", script, *lines],
            env=self.env,
            cwd=self.cwd,
            capture_output=True,
            timeout=DEADLINE_SEC,
            text=True,
            check=True,
        )
        assert done.stderr == "", done.stderr
        parts = done.stdout.split("--end--\n")[:-1]
        offers = [sorted({each.partition("\t")[0] for each in part.splitlines()}) for part in parts]
        return dict(zip(lines, offers, strict=True))


def missing(shell: str) -> str:
    """Why a shell cannot be tried; empty when it can."""
    return "" if shutil.which(shell) else f"{shell} is not installed (make tools)"
