"""What a person is told of an array as a whole: how many of its elements are where."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jobctl.shapes import JobView

FIRST = ("running", "queued", "success")  # the others follow by how many there are


def counts(view: JobView) -> str:
    """`4 running, 90 queued, 6 success`; "" for a job that is no array."""
    found = view.get("counts", {})
    order = sorted(found, key=lambda word: (FIRST.index(word) if word in FIRST else len(FIRST), -found[word], word))
    return ", ".join(f"{found[word]} {word}" for word in order)
