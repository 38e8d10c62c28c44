"""Settings of the shop. recloser's are an entry in INSTALLED_APPS, the last of MIDDLEWARE, and RECLOSER."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).parents[1]

SECRET_KEY = os.environ.get("SECRET_KEY", "good enough for an example that listens on 127.0.0.1")
DEBUG = os.environ.get("DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "recloser.django",
    "teashop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "recloser.django.CircuitBreakerMiddleware",
]

SERVICES = {
    "inventory": os.environ.get("INVENTORY_URL", "http://127.0.0.1:9101"),
    "recommendations": os.environ.get("RECOMMENDATIONS_URL", "http://127.0.0.1:9102"),
    "payments": os.environ.get("PAYMENTS_URL", "http://127.0.0.1:9103"),
}
ORDERS_QUEUE = os.environ.get("ORDERS_QUEUE", BASE_DIR / "queue" / "orders.db")
RECLOSER = {
    "NAMESPACE": "teashop",
    "DEFAULTS": {
        "recovery_timeout": 5,  # seconds open before the first probe ...
        "recovery_timeout_max": 60,  # ... doubling at each failed probe up to this
    },
    "PROFILES": {
        "http": {
            "failure_threshold": 3,  # consecutive failures that trip
            "probe_timeout": 2,  # seconds until an unanswered probe gives its place to another
        },
    },
    "BREAKERS": {
        "inventory": {"profile": "http", "origins": [SERVICES["inventory"]]},
        "recommendations": {
            "profile": "http",
            "origins": [SERVICES["recommendations"]],
            "slow_call_duration": 0.15,  # slower recommendations than this are not worth waiting for:
            "slow_call_rate_threshold": 0.5,
        },
        "payments": {"profile": "http", "origins": [SERVICES["payments"]]},
    },
    "ROUTES": {
        # By URL name, without touching the view. The other views have guards of their own.
        "shop:api-checkout": {"breakers": ["payments"], "plan": ["unavailable"]},
    },
}

ROOT_URLCONF = "teashop.urls"
WSGI_APPLICATION = "teashop.wsgi.application"
ASGI_APPLICATION = "teashop.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", BASE_DIR / "db.sqlite3"),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
REST_FRAMEWORK = {"EXCEPTION_HANDLER": "recloser.django.rest.exception_handler"}
