"""Start vLLM on the first request, shut the rented GPU down when idle, and know what every billed second was."""

__version__ = "0.1.0"
