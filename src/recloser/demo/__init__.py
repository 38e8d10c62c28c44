"""The demo: the example shop under real workers, its downstream, bounded traffic and an outage."""
