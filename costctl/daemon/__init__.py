"""The daemon: the front door, the engine behind it, the idle policy, and the account of every second."""
