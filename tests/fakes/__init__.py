"""Hand-written stand-ins for the ports: time, engines, GPUs, people, the instance."""
