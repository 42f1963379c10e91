"""How many jobs or runs one answer holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from jobd.wire import messages as m

if TYPE_CHECKING:
    from collections.abc import Iterable

LIST_PAGE: Final = 300  # jobs, or runs: 5 ms that all others wait
PAGE_BYTES: Final = 512 << 10  # of command lines and the rest of a page; a frame is twice as large
VIEW_BYTES: Final = 800  # of a view: names and numbers of all its fields
WORD_BYTES: Final = 5  # ahead of each word in msgpack
View = TypeVar("View", m.JobView, m.RunView)


def fitting(made: Iterable[View]) -> list[View]:
    """As many of these, at least one, as a page holds; hardly more are made."""
    found: list[View] = []
    size = 0
    for view in made:
        size += _size(view)
        if found and (size > PAGE_BYTES or len(found) >= LIST_PAGE):
            break
        found.append(view)
    return found


def _size(view: m.JobView | m.RunView) -> int:
    words = (*view.argv, view.cwd, view.note.encode(), getattr(view, "description", "").encode())
    return VIEW_BYTES + sum(map(len, words)) + WORD_BYTES * len(words)
