"""A child that answers with what it was asked."""

from skltransfer._engine import process

if __name__ == "__main__":
    process.answer(lambda **request: {"got": request})
