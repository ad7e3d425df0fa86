"""The container engine behind one interface: Docker, and a fake for fast unit tests."""
