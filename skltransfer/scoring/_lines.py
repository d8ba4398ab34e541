"""Files of lines: CSV, JSONL and lists of texts or paths; each is read once to find where units begin."""

from __future__ import annotations

import csv
import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, ClassVar

from skltransfer.errors import TableError, need, shorten
from skltransfer.scoring._files import open_binary
from skltransfer.scoring._source import Source
from skltransfer.scoring._units import BLOCK, Block, Unit, numbered

#: What stands before the text of some files of Windows.
BOM = b"\xef\xbb\xbf"


class Reader:
    """Lines of a file as text, up to a byte; knows where the next one begins.

    Parameters
    ----------
    file : binary file
        Open where the first line begins.
    begin, end : int
        Position of the first byte, and of the first that is not read; 0: to the end of the file.
    """

    def __init__(self, file: BinaryIO, begin: int = 0, end: int = 0) -> None:
        self._file, self.place, self._end = file, begin, end

    def __iter__(self) -> Iterator[str]:
        """Yield lines."""
        while not self._end or self.place < self._end:
            if not (line := self._file.readline()):
                return
            first = self.place == 0
            self.place += len(line)
            yield (line.removeprefix(BOM) if first else line).decode("utf8")


class Lines(Source):
    """Records of text files; units are ranges of bytes."""

    def units(self, size: int) -> list[Unit]:
        """Read every file once and note where each unit begins."""
        return numbered(unit for file in range(len(self.files)) for unit in self._cut(file, size))

    def _cut(self, file: int, size: int) -> Iterator[Unit]:
        first = rows = 0
        with open_binary(self.files[file].path) as opened:
            reader, begin = Reader(opened), 0
            try:
                lines = iter(reader)
                self.skip_head(lines)
                begin = reader.place
                for _ in self.records(lines):
                    rows += 1
                    if rows == size:
                        yield Unit(0, file, first, rows, 0, begin, reader.place)
                        first, rows, begin = first + rows, 0, reader.place
            except (UnicodeDecodeError, ValueError, csv.Error) as err:
                name, number = shorten(repr(self.files[file].path)), first + rows + 1
                raise TableError(f"{name}, record {number}, cannot be read ({shorten(str(err))}).") from err
            if rows:
                yield Unit(0, file, first, rows, 0, begin, reader.place)

    def blocks(self, unit: Unit) -> Iterator[Block]:
        """Read the records of a unit."""
        with open_binary(self.files[unit.file].path) as opened:
            opened.seek(unit.begin)
            held, start = [], unit.start
            for record in self.records(iter(Reader(opened, unit.begin, unit.end))):
                held.append(record)
                if len(held) == BLOCK:
                    yield self.block(held, start)
                    held, start = [], start + BLOCK
            if held:
                yield self.block(held, start)

    def skip_head(self, lines: Iterator[str]) -> None:
        """Read over what is before the records."""

    @abstractmethod
    def records(self, lines: Iterator[str]) -> Iterator[Any]:
        """Yield records, each as soon as its last line was read."""

    @abstractmethod
    def block(self, records: list[Any], start: int) -> Block:
        """Turn records into what the pipeline is given."""


class Texts(Lines):
    """A sample on each line: a text, or the path of a file."""

    kind: ClassVar = "lines"

    def records(self, lines: Iterator[str]) -> Iterator[str]:
        """Yield lines without their ends; an empty one is a sample, too."""
        for line in lines:
            yield line.rstrip("\r\n")

    def block(self, records: list[Any], start: int) -> Block:
        """Join paths to their folder."""
        return Block(self.row_ids(start, len(records)), self.selection.located(records))


class Columns(Lines):
    """Records with columns, as dictionaries."""

    def block(self, records: list[Any], start: int) -> Block:
        """Choose a column, or make a frame of several."""
        chosen, name = self.selection.column, self.selection.id
        ids = self.row_ids(start, len(records)) if name is None else [record.get(name) for record in records]
        if isinstance(chosen, str):
            return Block(ids, self.selection.located([record.get(chosen) for record in records]))
        return Block(ids, self._frame(records, chosen or ()))

    def _frame(self, records: list[Any], names: Sequence[str]) -> Any:
        pd = need("pandas", extra="compare")
        return pd.DataFrame({name: self.values([record.get(name) for record in records], name) for name in names})

    def values(self, cells: list[Any], name: str) -> Any:
        """Return the values of a column of a frame."""
        return cells


class Json(Columns):
    """JSON objects, one on each line."""

    kind: ClassVar = "jsonl"

    def columns(self) -> list[str]:
        """Return the keys of the first record."""
        with open_binary(self.files[0].path) as opened:
            return list(next(self.records(iter(Reader(opened))), {}))

    def records(self, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
        """Yield objects; empty lines are none."""
        for line in lines:
            if line.strip():
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError(f"{shorten(line.strip(), 60)!r} is no JSON object")
                yield record


class Csv(Columns):
    """Comma-separated values with a line of names; in ``.tsv`` files, tabs."""

    kind: ClassVar = "csv"
    _names: list[str] | None = None
    _numbers: dict[str, type] | None = None

    def columns(self) -> list[str]:
        """Return the names in the first line."""
        if self._names is None:
            with open_binary(self.files[0].path) as opened:
                self._names = next(self._rows(iter(Reader(opened))), [])
        return self._names

    def skip_head(self, lines: Iterator[str]) -> None:
        """Read the line of names, which has to be that of the first file."""
        if (names := next(self._rows(lines), [])) != self.columns():
            raise ValueError(f"its columns are {shorten(repr(names))}, those of the first file {self.columns()}")

    def records(self, lines: Iterator[str]) -> Iterator[dict[str, str]]:
        """Yield rows; empty lines are none."""
        names = self.columns()
        for row in self._rows(lines):
            if len(row) != len(names):
                raise ValueError(f"it has {len(row)} cells, and {len(names)} columns have names")
            yield dict(zip(names, row, strict=True))

    def _rows(self, lines: Iterator[str]) -> Iterator[list[str]]:
        separator = "\t" if self.files[0].path.lower().endswith((".tsv", ".tab")) else ","
        return (row for row in csv.reader(lines, delimiter=separator) if row)

    def values(self, cells: list[Any], name: str) -> Any:
        """Return numbers where the first block of the first file holds nothing else, so that all units agree."""
        kind = self._kinds().get(name, str)
        return cells if kind is str else [kind(cell) if cell else float("nan") for cell in cells]

    def _kinds(self) -> dict[str, type]:
        if self._numbers is None:
            with open_binary(self.files[0].path) as opened:
                lines = iter(Reader(opened))
                self.skip_head(lines)
                first = [record for record, _ in zip(self.records(lines), range(BLOCK), strict=False)]
            self._numbers = {name: _kind([record[name] for record in first]) for name in self.columns()}
        return self._numbers


def _kind(cells: list[str]) -> type:
    """Return float if every cell that is not empty is a number; codes like 007 are none."""
    filled = [cell for cell in cells if cell]
    try:
        [float(cell) for cell in filled]
    except ValueError:
        return str
    codes = any(cell[0] == "0" and cell[1:2].isdigit() for cell in filled)
    return str if codes or not filled else float
