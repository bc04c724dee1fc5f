"""The command line, `mentor-pipeline`: reads what was asked, calls `operator`, and shows what came of it.

Nothing is decided here. `app` has the frame (help, exit codes, errors), `jobs`, `look` and `upkeep` the commands,
`show` how things look, `terminal` where output goes. Commands import what they need when they are called, so that
`--help` answers at once.
"""

from __future__ import annotations

from mentor_pipeline.cli.app import main

__all__ = ["main"]
