"""The Django shop as the demo runs it: the same app, with a listener that reports every transition.

gunicorn imports it as `recloser.demo.django_worker:application`, once per worker. It also serves static files, as
`runserver` would; in production a web server or WhiteNoise does.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Final

from django.contrib.staticfiles.handlers import StaticFilesHandler

from recloser.demo.reporter import report_on
from recloser.django import registry

os.environ["DJANGO_SETTINGS_MODULE"] = "teashop.settings"  # whatever else this machine's projects are

_shop: Final = import_module("teashop.wsgi")  # found by gunicorn's --pythonpath
application: Final = StaticFilesHandler(_shop.application)
report_on(registry)
