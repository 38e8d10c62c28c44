"""What an open circuit answers over HTTP: plans, what may be kept for them, and the plain 503. Framework-free."""
