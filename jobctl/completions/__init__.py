"""The files that make shells complete jobctl. `generate` writes the words in them; a test says when they are old."""

from __future__ import annotations

import os

FILES = {"bash": "jobctl.bash", "zsh": "_jobctl", "fish": "jobctl.fish"}  # by shell
DIRECTORY = os.path.dirname(os.path.abspath(__file__))


def path(shell: str) -> str:
    """Where the file of a shell is."""
    return f"{DIRECTORY}/{FILES[shell]}"


def read(shell: str) -> bytes:
    """The file of a shell."""
    with open(path(shell), "rb", buffering=0) as file:
        return file.readall()
