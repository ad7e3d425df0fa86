"""Fixtures of the whole suite, each in the module of the part it brings up."""

import os

from hypothesis import settings

# A check of a submission repeats the same examples, so that it tells of the change and not of luck; everybody else's
# runs go on looking for new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

pytest_plugins = [
    "tests.support.engine",
    "tests.support.registry",
    "tests.support.databases",
    "tests.support.skylark",
]
