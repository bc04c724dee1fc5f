"""The files under `deploy/`: they fit each other, the package's settings, and what the docs promise of them."""

from __future__ import annotations

import re
from configparser import RawConfigParser
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]

from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY, Settings, packaged_instance_file

TOP: Final = Path(__file__).parents[2]
DEPLOY: Final = TOP / "deploy"
SETTINGS: Final = {
    str(field.validation_alias or f"MENTOR_PIPELINE_{name.upper()}") for name, field in Settings.model_fields.items()
}
KEYS: Final = {JOTFORM_KEY, GIVEBUTTER_KEY}
PINNED: Final = re.compile(r"^([a-z0-9._-]+)==([^ ;]+)(?: ; .*)? \\$", re.MULTILINE)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = read(DEPLOY / "docker-compose.yml")["services"]
    return found


def test_a_server_has_the_instance_settings_of_the_default_but_for_the_storage() -> None:
    server, default = read(DEPLOY / "dagster.yaml"), read(packaged_instance_file())
    database = server.pop("storage")["postgres"]["postgres_db"]
    assert server == default
    # A bare `postgresql://` takes psycopg 3 with SQLAlchemy 2.1, which Dagster's storage cannot use.
    assert database.pop("scheme") == "postgresql+psycopg2"
    assert all(list(value) == ["env"] for value in database.values())


def test_the_code_location_has_the_name_of_the_default() -> None:
    (load,) = read(DEPLOY / "workspace.yaml")["load_from"]
    (default,) = read(TOP / "workspace.yaml")["load_from"]
    assert load["grpc_server"]["location_name"] == default["python_module"]["location_name"]


def test_nothing_is_published_but_on_this_machine(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    assert not any(service.get("network_mode") == "host" for service in services.values())


def test_no_container_is_root_or_may_become_it(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["user"] not in {"root", "0"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    own = [service for service in services.values() if service["image"] == "mentor-pipeline"]
    assert all(service["read_only"] for service in own)
    user = re.search(r"^USER (\S+)$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert user is not None
    assert {service["user"].partition(":")[0] for service in own} == {user[1]}


def test_every_container_that_stays_tells_how_it_is(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "healthcheck" not in service} == {"migrate"}


def test_keys_come_from_the_environment_and_only_to_what_executes_the_pipeline(services: dict[str, Any]) -> None:
    with_keys = {name for name, service in services.items() if set(service.get("environment", {})) & KEYS}
    assert with_keys == {"code", "worker-one", "worker-two"}
    for service in services.values():
        for variable, value in service.get("environment", {}).items():
            if variable in KEYS or re.search("PASSWORD|_PASS$|WEBHOOK|SMTP", variable):
                assert re.match(r"\$\{[A-Z_]+:[-?]", value), variable


def test_settings_of_the_containers_are_settings_of_the_package(services: dict[str, Any]) -> None:
    named = {variable for service in services.values() for variable in service.get("environment", {})}
    own = {variable for variable in named if not variable.startswith(("DAGSTER_", "POSTGRES_", "RABBITMQ_"))}
    # The image sets the data folder; where the years are is the package's own, and the code server's host is ours.
    assert own - {"MENTOR_PIPELINE_CODE_HOST"} == {*SETTINGS, *KEYS} - {
        "MENTOR_PIPELINE_DATA_DIR",
        "MENTOR_PIPELINE_CONFIG_DIR",
    }


def test_settings_in_kubernetes_are_settings_of_the_package() -> None:
    values = read(DEPLOY / "helm-values.yaml")
    (code,) = values["dagster-user-deployments"]["deployments"]
    assert {variable["name"] for variable in code["env"]} <= SETTINGS
    assert values["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"
    assert code["podSecurityContext"]["runAsNonRoot"]


def test_the_image_has_the_versions_that_are_tested() -> None:
    image = dict(PINNED.findall((DEPLOY / "requirements.lock").read_text(encoding="utf-8")))
    tested = dict(PINNED.findall((TOP / "requirements.lock").read_text(encoding="utf-8")))
    assert {"dagster-celery", "dagster-k8s", "dagster-webserver", "hatchling"} <= set(image)
    assert {name: version for name, version in image.items() if tested.get(name, version) != version} == {}
    assert not {"pytest", "mypy", "ruff"} & set(image)


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.stem)
def test_services_of_systemd_run_as_a_user_who_can_do_nothing_else(unit: Path) -> None:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit, encoding="utf-8")
    service = parser["Service"]
    assert service["User"] == "mentors"
    assert service["EnvironmentFile"] == "/etc/mentors/environment"
    for option in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictNamespaces"):
        assert service[option] == "yes", option
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert service["UMask"] == "0077"
