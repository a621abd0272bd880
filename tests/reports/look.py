"""Write the sample reports as pages to look at in a browser: python -m tests.reports.look FOLDER."""

import sys
from pathlib import Path

from costctl.adapters.vega import svg_renderer
from costctl.reports.html import render_html
from costctl.reports.wording import Wording
from tests.reports.sample_document import sample_document
from tests.reports.sample_month import CHINESE, month_document


def main(folder):
    english = Wording.of("en")
    pages = {
        "en": (month_document(english), english),
        "zh": (month_document(CHINESE), CHINESE),
        "odd": (sample_document(), english),
    }
    for name, (document, words) in pages.items():
        (folder / f"{name}.html").write_text(render_html(document, words, svg_renderer()))
        (folder / f"{name}-words.html").write_text(render_html(document, words, None))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
