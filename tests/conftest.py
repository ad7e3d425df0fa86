"""Fixtures of the whole suite, each in the module of the part it brings up."""

pytest_plugins = [
    "tests.support.engine",
    "tests.support.registry",
    "tests.support.databases",
    "tests.support.skylark",
]
