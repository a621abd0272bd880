"""`costctl --help` is answered from a rendered text, which must be what click would render now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import costctl.cli


def test_the_rendered_help_is_clicks_own():
    program = "from costctl.cli.root import cli; cli.main(['--help'], prog_name='costctl')"
    environment = {**os.environ, "COLUMNS": "80"}
    rendered = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    stored = Path(costctl.cli.__file__).with_name("help.txt").read_text()
    assert stored == rendered.stdout, "run `make help-text`"


def test_help_is_answered_without_importing_click():
    program = "import sys; sys.argv = ['costctl', '--help']\nimport costctl.cli\ntry: costctl.cli.main()\n"
    program += "except SystemExit: pass\nassert 'click' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
