"""`python -m costctl`."""

from costctl.cli import main

main()
