"""One true record per student mentor, kept in step between Jotform and Givebutter.

Import concrete modules directly; this package has no import-time wiring.
"""
