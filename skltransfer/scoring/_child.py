"""The child process in which a suspected unit is scored."""

from skltransfer._engine import process
from skltransfer.scoring._deadly import work

if __name__ == "__main__":
    process.answer(work)
