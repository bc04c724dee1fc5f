"""The code location: everything put together in one function, with overrides for tests and commands.

Which executor is used is decided in `executors`, which warehouse in `resources.open_warehouse`. Loading reads the
environment, `.env` and the year file, and nothing else: no network, no database.
"""

import os
import warnings
from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from mentor_pipeline.assets import decisions, export, givebutter, jotform, ledgers, mentors, outreach, quality, upkeep
from mentor_pipeline.checks import export as export_checks
from mentor_pipeline.checks import mentors as mentor_checks
from mentor_pipeline.checks import raw as raw_checks
from mentor_pipeline.executors import choose_executor
from mentor_pipeline.jobs import import_contacts, jobs
from mentor_pipeline.resources.givebutter import GivebutterResource
from mentor_pipeline.resources.io_managers import WarehouseIOManager
from mentor_pipeline.resources.jotform import JotformResource
from mentor_pipeline.resources.notifier import Notifier
from mentor_pipeline.resources.open_warehouse import open_warehouse
from mentor_pipeline.resources.run_guard import RunGuard
from mentor_pipeline.schedules import build_schedules
from mentor_pipeline.sensors.alerts import failed_check_alert, run_failure_alert
from mentor_pipeline.sensors.housekeeping import housekeeping
from mentor_pipeline.sensors.inbox import build_inbox_sensor
from mentor_pipeline.sensors.waiting import waiting_alert
from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY, ProgramYear, Settings, load_environment

_ASSETS: Final = (decisions, jotform, givebutter, mentors, quality, outreach, export, upkeep)


def build_resources(settings: Settings, program: ProgramYear) -> dict[str, Any]:
    """The resources by key; the keys of the services stay in the environment."""
    warehouse = open_warehouse(settings)
    guard = RunGuard(warehouse=warehouse, program=program)
    return {
        "settings": settings,
        "program": program,
        "warehouse": warehouse,
        "run_guard": guard,
        "io_manager": WarehouseIOManager(year=program.year, warehouse=warehouse, guard=guard),
        "jotform": JotformResource(api_key=dg.EnvVar(JOTFORM_KEY), base_url=settings.jotform_base_url),
        "givebutter": GivebutterResource(
            api_key=dg.EnvVar(GIVEBUTTER_KEY),
            base_url=settings.givebutter_base_url,
            requests_per_second=settings.givebutter_requests_per_second,
        ),
        "notifier": Notifier.from_settings(settings),
    }


def build_defs(*, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Everything that Dagster runs and shows.

    Args:
        resources: resources that take the place of the configured ones, by key.

    Raises:
        ConfigError: the environment or the year file has faults, all of them named.
    """
    load_environment()
    for key in (JOTFORM_KEY, GIVEBUTTER_KEY):
        # Dagster refuses every run whose resources name an unset variable, a CSV import or a rebuild too; the clients
        # say plainly what is missing when they are used.
        os.environ.setdefault(key, "")
    settings = Settings.load()
    program = settings.program_year()
    assets = dg.load_assets_from_modules(_ASSETS)
    all_resources = {**build_resources(settings, program), **(resources or {})}
    sensor_status = dg.DefaultSensorStatus.RUNNING if settings.schedules_on else dg.DefaultSensorStatus.STOPPED
    return dg.Definitions(
        assets=[*_with_code_references(assets), *ledgers.specs],
        asset_checks=[*raw_checks.checks, *mentor_checks.checks, *export_checks.checks],
        jobs=jobs,
        schedules=build_schedules(settings, program),
        sensors=[
            build_inbox_sensor(import_contacts, default_status=sensor_status),
            run_failure_alert,
            failed_check_alert,
            waiting_alert,
            housekeeping,
        ],
        resources=all_resources,
        executor=choose_executor(settings, all_resources["run_guard"]),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads."""
    return build_defs()


def _with_code_references(assets: Any) -> Any:
    """Assets that say where their code is."""
    with warnings.catch_warnings():
        # "Currently in beta", once for each asset and each command; what it gives is a link in the catalog.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.with_source_code_references(assets)
