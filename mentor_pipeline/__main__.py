"""`python -m mentor_pipeline`: the command line, where its script is not installed."""

from __future__ import annotations

from mentor_pipeline.cli import main

main()
