"""HTTP clients with one breaker per origin. Import the module of your client; none is imported here."""
