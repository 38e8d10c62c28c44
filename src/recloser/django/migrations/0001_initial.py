"""The model of a breaker, which has no table: its permissions are all that the database gets."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Create the model's state and, with it, its permissions."""

    initial = True
    dependencies: ClassVar = []
    operations: ClassVar = [
        migrations.CreateModel(
            name="Breaker",
            fields=[("name", models.CharField(max_length=255, primary_key=True, serialize=False))],
            options={
                "verbose_name": "circuit breaker",
                "verbose_name_plural": "circuit breakers",
                "permissions": [("control_breaker", "Can control circuit breakers")],
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
