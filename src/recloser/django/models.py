"""A breaker as the admin and the permissions know it: there is no table."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Breaker(models.Model):
    """Stands for a breaker by its name. `view_breaker` lets see, `control_breaker` lets act."""

    name: models.CharField[str, str] = models.CharField(max_length=255, primary_key=True)

    class Meta:
        """It lives in memory."""

        managed = False
        default_permissions = ("view",)
        permissions: ClassVar = [("control_breaker", "Can control circuit breakers")]
        verbose_name = "circuit breaker"
        verbose_name_plural = "circuit breakers"

    def __str__(self) -> str:
        return self.name
