"""Real databases for the tests: SQLite in a fresh folder, and a PostgreSQL of our own."""
