"""System checks: `manage.py check`, `manage.py recloser check`. Their ids are stable, each has a hint."""

from __future__ import annotations

from typing import Final

from recloser.django.checks.breakers import check_breakers
from recloser.django.checks.code import check_code
from recloser.django.checks.declaration import check_declaration
from recloser.django.checks.deployment import check_deployment, check_workers
from recloser.django.checks.middleware import check_middleware
from recloser.django.checks.routes import check_routes
from recloser.django.checks.sessions import check_sessions

TAG: Final = "recloser"
CHECKS: Final = (
    check_declaration,
    check_routes,
    check_code,
    check_middleware,
    check_breakers,
    check_workers,
    check_sessions,
)
DEPLOY_CHECKS: Final = (check_deployment,)
