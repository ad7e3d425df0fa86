"""Metrics: what instances used and what the proxy carried, sampled, kept past their lives, read back by time."""
