"""The only process that talks to Docker: composition, the scheduler and the watchers."""
