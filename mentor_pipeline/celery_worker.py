"""The Celery app of a worker: `celery -A mentor_pipeline.celery_worker worker`.

Used on the machines that execute steps when MENTOR_PIPELINE_EXECUTOR is celery; nothing else imports it. A worker has
the same environment as the rest of the installation, so that it builds the same resources.
"""

import os

from dagster_celery.make_app import make_app  # type: ignore[import-not-found, unused-ignore]
from dagster_celery.tasks import create_task  # type: ignore[import-not-found, unused-ignore]

from mentor_pipeline.settings import CELERY_BROKER, load_environment

load_environment()
app = make_app({"broker": os.environ.get(CELERY_BROKER), "backend": "rpc://"})
app.conf.update(
    # A step is done when it has ended, not when a worker took it: the broker gives the step of a worker that was killed
    # to another. A step writes once, in one transaction, so it can be executed again.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # A worker that lost the broker stops what it does, for somebody else is given the same step.
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_retry_on_startup=True,
    # One step at a time for each process, and none in reserve while another worker is idle.
    worker_prefetch_multiplier=1,
)
execute_plan = create_task(app)
