"""Who shares the state of breakers: the protocol of stores, the hub that speaks to them, SQLite, Redis and Valkey."""
