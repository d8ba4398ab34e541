"""The tests; a package so that they can share `tests.graphs`, whatever else is installed."""
