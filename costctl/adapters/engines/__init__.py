"""The kinds of engine and how each is launched."""
