"""Files for rows that do not fit into memory: without a name, of mode 0600, gone when the process ends.

They are only ever appended to, and read at given places. So the child of a fork, which has the same open file, may read
what its parent wrote; it writes to files of its own.
"""

from __future__ import annotations

import os
import tempfile

#: Bytes of a file; what is evicted goes file by file, and each takes a file descriptor.
FILE_BYTES = 256 * 2**20


class SpillFile:
    """A file that is written once and has no name.

    Raises
    ------
    OSError
        If the temporary folder cannot be written to.
    """

    def __init__(self) -> None:
        self.pid, self.size = os.getpid(), 0
        self._file = tempfile.TemporaryFile(buffering=0, prefix="skltransfer-")  # noqa: SIM115 - closed by __del__

    def takes(self, length: int) -> bool:
        """Return whether so many bytes may be appended: the file is of this process, and is not full."""
        return self.pid == os.getpid() and (not self.size or self.size + length <= FILE_BYTES)

    def append(self, data: memoryview) -> int:
        """Write bytes to the end, and return the place where they begin.

        Raises
        ------
        OSError
            If the disk is full; nothing counts as written then.
        """
        start = done = self.size
        while len(data):
            written = self._write(data, done)
            data, done = data[written:], done + written
        self.size = done
        return start

    def read(self, start: int, length: int) -> bytes:
        """Read bytes; fewer if the file is shorter.

        Raises
        ------
        OSError
            If the disk fails.
        """
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), length, start)
        self._file.seek(start)
        return self._file.read(length)

    def _write(self, data: memoryview, place: int) -> int:
        if hasattr(os, "pwrite"):  # the position of the file is one with that of the parent or child
            return os.pwrite(self._file.fileno(), data, place)
        self._file.seek(place)
        return self._file.write(data)

    def __del__(self) -> None:
        if "_file" in self.__dict__:
            self._file.close()
