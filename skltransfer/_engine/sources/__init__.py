"""Contents of files, out of whatever holds or names them: paths, dictionaries, open files, archives, addresses.

The room knows files and nothing of what is in them. Nothing is fetched unless the extra ``remote`` is installed, or the
user hands over an object that was opened with another library. All that can be wrong is `Unreadable`, with the reason.
"""

from skltransfer._engine.sources._addresses import is_base64
from skltransfer._engine.sources._content import MAX_BYTES, Content
from skltransfer._engine.sources._file import read_file
from skltransfer._engine.sources._held import name_of, read_held

__all__ = ["MAX_BYTES", "Content", "is_base64", "name_of", "read_file", "read_held"]
