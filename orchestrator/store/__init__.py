"""Desired state, its history and the last observation: the database that API and worker meet in."""
