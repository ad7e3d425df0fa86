"""What the worker knows of the hosts of its engines."""

from __future__ import annotations

from worker.host import free_memory


def test_memory_of_an_engine_on_a_socket_is_that_of_this_host() -> None:
    free = free_memory("unix:///var/run/docker.sock")

    assert free is not None
    assert 1024**2 < free < 1024**5


def test_memory_of_an_engine_elsewhere_is_not_known() -> None:
    assert free_memory("tcp://10.1.2.3:2376") is None
