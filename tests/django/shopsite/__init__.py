"""A small Django project whose views depend on services that fail."""
