"""Where the steps of a run are executed: in its own process, in several, on Celery workers, or in Kubernetes.

Here alone the setting MENTOR_PIPELINE_EXECUTOR becomes an executor of Dagster's, and what each of them needs is asked
for. Where the run itself is started (the run launcher) belongs to Dagster's instance: `deploy/dagster.yaml`, and the
Helm values. Commands execute their runs in their own process, whatever is set here.

A run whose steps are executed elsewhere has a process that hands them out. That process holds the writer lock for the
whole run, so that there is one run of a year at a time here as well; the steps only look whether it still does.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from mentor_pipeline.errors import ConfigError
from mentor_pipeline.settings import CELERY_BROKER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mentor_pipeline.resources.run_guard import RunGuard
    from mentor_pipeline.settings import Settings

PROCESSES: Final = 4
"""Steps of a run at a time under `multiprocess`; each takes a process of about 300 MB."""

_SEVERAL_MACHINES: Final = {"celery": "dagster_celery", "k8s": "dagster_k8s"}
"""Executors that may use other machines, and the package that each needs."""


def choose_executor(settings: Settings, guard: RunGuard) -> dg.ExecutorDefinition:
    """The executor that the settings name.

    Args:
        settings: of this installation.
        guard: holds the writer lock of a run whose steps are executed in other processes.

    Raises:
        ConfigError: what it needs is not set or not installed.
    """
    name = settings.executor
    if name == "in_process":
        return dg.in_process_executor
    if name in _SEVERAL_MACHINES:
        _require(settings, _SEVERAL_MACHINES[name])
    if name == "celery":
        # The names of variables, not their values: the configuration is shown in the UI.
        broker = {"broker": {"env": CELERY_BROKER}, "backend": "rpc://"}
        return _guarded(import_module("dagster_celery").celery_executor, guard).configured(broker)
    if name == "k8s":
        return _guarded(import_module("dagster_k8s").k8s_job_executor, guard)
    return _guarded(dg.multiprocess_executor, guard).configured({"max_concurrent": PROCESSES})


def _require(settings: Settings, package: str) -> None:
    """Refuse several machines where a part of that is missing, all of it named."""
    name, missing = settings.executor, []
    if not settings.database_url:
        missing.append(
            "MENTOR_PIPELINE_DATABASE_URL is not set: machines cannot share a DuckDB file, so the tables must be in "
            "Postgres."
        )
    if name == "celery" and not settings.celery_broker:
        missing.append(
            f"{CELERY_BROKER} is not set: expected the address of RabbitMQ, amqp://user:password@host:5672//."
        )
    if find_spec(package) is None:
        missing.append(f"A package is not installed. Install it: pip install 'mentor-pipeline[{name}]'.")
    if missing:
        lines = "\n".join(f"  {line}" for line in missing)
        msg = (
            f"MENTOR_PIPELINE_EXECUTOR is {name}, but its parts are not there; nothing was read or changed:\n{lines}\n"
            "Put that right, or unset MENTOR_PIPELINE_EXECUTOR: one machine needs none of it."
        )
        raise ConfigError(msg)


def _guarded(inner: Any, guard: RunGuard) -> dg.ExecutorDefinition:
    """An executor whose runs hold the writer lock while their steps are executed."""
    return dg.ExecutorDefinition(
        name=inner.name,
        config_schema=inner.config_schema,
        requirements=dg.multiple_process_executor_requirements(),
        executor_creation_fn=lambda context: _Guarded(inner.executor_creation_fn(context), guard),
    )


class _Guarded(dg.Executor):
    """Another executor, with the writer lock held around it."""

    def __init__(self, inner: dg.Executor, guard: RunGuard) -> None:
        self._inner = inner
        self._guard = guard

    @property
    def retries(self) -> Any:
        """Of the other."""
        return self._inner.retries

    @property
    def step_dependency_config(self) -> Any:
        """Of the other."""
        return self._inner.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[Any]:
        """Execute all steps as the other does."""
        with self._guard.around_steps(plan_context.dagster_run, plan_context.instance, plan_context.log):
            yield from self._inner.execute(plan_context, execution_plan)

    def __getattr__(self, name: str) -> Any:
        """What the other has besides: Dagster hands a run's executor to the function that makes its tasks."""
        return getattr(self._inner, name)
