"""The charts of a report as Vega-Lite specifications, each with words that say the same."""
