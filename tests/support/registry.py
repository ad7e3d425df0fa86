"""A real image registry for the tests, and the images of the suite in it."""
