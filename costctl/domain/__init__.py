"""Pure rules of costctl: values and functions without I/O, clock or tasks."""
