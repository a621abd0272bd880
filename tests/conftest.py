"""Its place makes `fakes` importable from every test."""
