"""What a breaker is. Needs the standard library only."""
