"""Where the tests find what they look at, wherever they lie themselves."""

from pathlib import Path

#: The checkout.
ROOT = Path(__file__).resolve().parents[1]
#: The package, as the checkout has it.
PACKAGE = ROOT / "skltransfer"
FIXTURES = ROOT / "tests" / "fixtures"
