"""The images of the test suite and their builder; no public registry is asked."""
