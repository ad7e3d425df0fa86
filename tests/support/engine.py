"""A real Docker engine for the tests: found, or started when none answers."""
