"""The front door: the OpenAI-compatible endpoint that costctl listens on."""
