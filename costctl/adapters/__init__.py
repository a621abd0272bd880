"""The only place that touches the outside: processes, GPUs, terminals, the instance, the clock."""
