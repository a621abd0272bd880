"""Charts as SVG, by Vega-Lite inside vl-convert (the extra `costctl[report]`): no browser, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_VEGA_LITE = "6.1"  # pinned, so that a newer vl-convert draws the same


def svg_renderer() -> Callable[[Mapping[str, Any]], str] | None:
    """Return what renders a Vega-Lite specification as SVG, or None where the extra is not installed."""
    try:
        from vl_convert import vegalite_to_svg  # noqa: PLC0415 - large, and not always there
    except ImportError:
        return None

    def svg(spec: Mapping[str, Any]) -> str:
        return vegalite_to_svg(dict(spec), vl_version=_VEGA_LITE, allowed_base_urls=[])

    return svg
