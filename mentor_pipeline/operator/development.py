"""Opening Dagster's UI on this machine: on the real installation when there are keys, else on the demo's data.

Dagster, and for the demo the simulator, run as processes of their own; they get the signals that this one gets, and end
with it. What the UI shows belongs to the definitions, what the simulator serves to the demo that saved its world.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mentor_pipeline.errors import ConfigError
from mentor_pipeline.operator.demo import WORLD_NAME, demo_environment, demo_folder, serving, working_in
from mentor_pipeline.operator.folders import private_files
from mentor_pipeline.operator.runs import DEMO_MARKER, prepare_home, refuse_mixture
from mentor_pipeline.operator.services import process, simulated
from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY, Settings

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from types import FrameType

    from mentor_pipeline.settings import ProgramYear

WORKSPACE: Final = "workspace.yaml"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def serve(
    settings: Settings,
    program: ProgramYear,
    *,
    host: str,
    port: int,
    use_demo: bool = False,
    say: Callable[[str], None],
) -> int:
    """Run Dagster's UI and daemon until a signal ends them.

    Args:
        settings: of this installation.
        program: the program year.
        host: address to listen on.
        port: port to listen on.
        use_demo: open the demo's data though keys are set.
        say: told what is opened.

    Returns:
        The exit code of Dagster, 0 when a signal ended it.

    Raises:
        ConfigError: there is nothing to open, or no workspace.
    """
    workspace = Path(WORKSPACE)
    if not workspace.exists():
        msg = f"There is no {WORKSPACE} in {Path.cwd()}. Start this in the project's folder."
        raise ConfigError(msg)
    has_keys = all(os.environ.get(key, "").strip() for key in (JOTFORM_KEY, GIVEBUTTER_KEY))
    with ExitStack() as stack:
        stack.enter_context(private_files())
        if has_keys and not use_demo:
            refuse_mixture("sync", settings)
            values = {"DAGSTER_HOME": str(prepare_home(settings))}
            say(f"Opening {settings.data_dir}: http://{host}:{port}   (stop with Ctrl-C)")
        else:
            values = _demo(demo_folder(settings), program, stack)
            say(f"Opening the demo's data: http://{host}:{port}   (stop with Ctrl-C)")
        # Dagster would begin by advising `dg dev`, a tool that is not installed with it.
        values = {"PYTHONWARNINGS": "ignore:Function `dev_command`", "MENTOR_PIPELINE_SCHEDULES_ON": "true", **values}
        command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
        dagster = stack.enter_context(process(command, values))
        return _wait(dagster)


def _demo(folder: Path, program: ProgramYear, stack: ExitStack) -> dict[str, str]:
    """Start the simulator on the demo's world; the environment in which Dagster sees it."""
    world = folder / WORLD_NAME
    if not (folder / DEMO_MARKER).exists() or not world.exists():
        msg = (
            f"No keys are set ({JOTFORM_KEY}, {GIVEBUTTER_KEY}), and there is no demo in {folder}. Nothing was "
            "started. Run `mentor-pipeline demo` first, or put the keys into .env."
        )
        raise ConfigError(msg)
    stack.enter_context(working_in(folder))
    services = stack.enter_context(simulated(world, program, keep_saving=True)).environment
    stack.enter_context(serving(folder, services))
    values = demo_environment(folder, program, services)
    home = prepare_home(Settings(data_dir=folder))
    return {**values, "DAGSTER_HOME": str(home)}


def _wait(process: subprocess.Popen[str]) -> int:
    """Wait for a process, passing signals on."""
    received: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, pass_on) for number in _SIGNALS}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0 if received else code
