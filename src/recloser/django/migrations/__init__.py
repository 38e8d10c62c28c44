"""Migrations of the app `recloser`."""
