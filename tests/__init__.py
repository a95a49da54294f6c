"""The tests; a package, so that no library that installs tests of its own comes first."""
