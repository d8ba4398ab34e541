"""The tests; a package so that they can share `tests.graphs` and the like, whatever else is installed."""
