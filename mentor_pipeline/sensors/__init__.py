"""Sensors: what starts a run when something happens. Thin; what is decided is decided in `operator` and `domain`."""
