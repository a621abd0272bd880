"""A simulated vLLM for demos and tests: a real process, real HTTP, real children, no GPU and no model.

`python -m costctl.adapters.engines.sim --help` lists its knobs. It stands apart from the rest of costctl on purpose: it
plays the stranger that costctl has to handle, down to the ways in which vLLM misbehaves.
"""
