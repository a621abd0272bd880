"""Settings: flags over `COSTCTL_*` variables over `costctl.toml` over defaults, resolved once into a typed object."""
