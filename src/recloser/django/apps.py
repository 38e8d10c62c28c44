"""The app: `INSTALLED_APPS += ["recloser.django"]`."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register
from django.core.signals import setting_changed

from recloser.django import conf


class RecloserConfig(AppConfig):
    """Registers the system checks and follows changed settings; starts nothing."""

    name = "recloser.django"
    label = "recloser"
    verbose_name = "Circuit breakers"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Make ready for `check`, and for tests that override settings."""
        from recloser.django import checks  # noqa: PLC0415 - what it imports wants the apps to be loaded

        for check in checks.CHECKS:
            register(check, checks.TAG)
        for check in checks.DEPLOY_CHECKS:
            register(check, checks.TAG, deploy=True)
        setting_changed.connect(conf.on_setting_changed)
