"""The command line, as in the tests of its own."""

from tests.cli.conftest import refused, run

__all__ = ["refused", "run"]
