"""Columns of text, as systemd's tools lay them out: fitted to a terminal, as wide as they are anywhere else.

One column holds names, and the last one is free text. On a terminal that is too narrow the free text is cut at its end;
when that is not enough, names are cut in their middle; and on one that is narrower still, whole lines.
"""

from __future__ import annotations

from jobctl import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MIN_NAME = 8  # columns that a name keeps
Row = tuple[str, ...]


class Table:
    """Lays out rows of one table, a page of them at a time."""

    def __init__(
        self, header: Row, name: int, *, gap: str = " ", indent: str = "", full: bool = False, rest: int = 0
    ) -> None:
        """`name`: which column holds names; `full`: nothing is cut; `rest`: what the last one keeps."""
        self.header = header
        self._name = name
        self._gap = gap
        self._indent = indent
        self._limit = 0 if full else terminal.columns()
        self._colour = terminal.use_colour()
        self._rest = max(rest, len(header[-1]))
        self._widths = [len(cell) for cell in header[:-1]]
        self._shown = self._widths
        self._ascii = True

    def fit(self, rows: Iterable[Row]) -> None:
        """Make the columns wide enough for these rows, and where they are too wide for the terminal, narrower."""
        rows = list(rows)
        padded = range(len(self._widths))
        if self._ascii:
            self._ascii = all(cell.isascii() for row in rows for cell in row[:-1])
        if self._ascii:
            columns_of = len
        else:
            from jobctl.width import columns_of  # type: ignore[assignment]
        if rows:
            self._widths = [max(self._widths[i], max(columns_of(row[i]) for row in rows)) for i in padded]
        self._shown = self._widths
        if self._limit:
            rest = len(self._indent) + sum(self._widths) + len(self._gap) * len(self._widths) + self._rest
            over = rest - self._limit
            if over > 0:
                wide = self._widths[self._name]
                self._shown = list(self._widths)
                self._shown[self._name] = min(wide, max(MIN_NAME, wide - over))

    def top(self) -> str:
        """The header, underlined where there is colour."""
        text = self._line(self._indent, self.header, ())
        return f"{terminal.UNDERLINED}{text}{terminal.PLAIN}" if self._colour else text

    def line(self, row: Row, colours: Sequence[str] = (), mark: str = "") -> str:
        """One row. `colours`: of its cells, "" for none; `mark`: in place of the indentation, as wide as that."""
        return self._line(mark or self._indent, row, colours if self._colour else ())

    def _line(self, start: str, row: Row, colours: Sequence[str]) -> str:
        cells = list(row)
        name = self._name
        if self._shown[name] < self._widths[name]:
            from jobctl.width import cut_middle

            cells[name] = cut_middle(cells[name], self._shown[name])
        if self._ascii and cells[name].isascii():
            padded = [cell.ljust(size) for cell, size in zip(cells, self._shown, strict=False)]
        else:
            from jobctl.width import pad

            padded = [pad(cell, size) for cell, size in zip(cells, self._shown, strict=False)]
        padded.append(cells[-1])
        for i, colour in enumerate(colours):
            if colour:
                padded[i] = f"{colour}{cells[i]}{terminal.PLAIN}{padded[i][len(cells[i]) :]}"
        text = start + self._gap.join(padded)
        return terminal.cut(text, self._limit)
