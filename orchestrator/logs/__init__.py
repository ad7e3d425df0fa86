"""Log lines of instances: stored by the worker, read by time range."""
