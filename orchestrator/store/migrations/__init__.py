"""The history of the tables, applied by `orchestrator.store.database.migrate`."""
