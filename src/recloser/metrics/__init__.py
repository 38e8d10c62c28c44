"""Seeing breakers from outside: Prometheus, OpenTelemetry, logs, alerts. Import the module you need."""
