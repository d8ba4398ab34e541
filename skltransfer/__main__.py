"""``python -m skltransfer``."""

import sys

from skltransfer.cli import main

if __name__ == "__main__":
    sys.exit(main())
