"""What stands in the kernel's files, of both versions of control groups, and reading them for made-up containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.metrics.cgroups import cpu_ns, memory_bytes, places, process_ids
from orchestrator.metrics.interfaces import Network, network_counters
from orchestrator.metrics.reader_files import CgroupReader

ONE, TWO = "1" * 64, "2" * 64

V1_STAT = b"""cache 61440
rss 102400
inactive_file 1
active_file 4096
hierarchical_memory_limit 67108864
total_cache 61440
total_rss 102400
total_inactive_anon 94208
total_inactive_file 57344
total_active_file 4096
"""
V2_STAT = b"""anon 102400
file 61440
kernel_stack 16384
inactive_anon 94208
active_anon 8192
inactive_file 57344
active_file 4096
workingset_refault_file 0
"""
V2_CPU = b"""usage_usec 49403
user_usec 30000
system_usec 19403
nr_periods 0
"""
NET_DEV = b"""Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  777777       6    5    0    0     0          0         0   777777       6    5    0    0     0       0          0
  eth0:     516       6    1    9    9     9          9         9      120       2    3    9    9     9       9          9
eth1:4294967297       6    1    9    9     9          9         9     1000       2    4    9    9     9       9          9
"""  # noqa: E501


@pytest.mark.parametrize(("version", "text"), [(1, b"49403002\n"), (2, V2_CPU)])
def test_cpu_time_is_read_in_nanoseconds(version: int, text: bytes) -> None:
    assert cpu_ns(version, text) // 1000 == 49403


@pytest.mark.parametrize(("version", "stat"), [(1, V1_STAT), (2, V2_STAT)])
def test_memory_is_told_without_inactive_file_cache(version: int, stat: bytes) -> None:
    assert memory_bytes(version, b"458752\n", stat) == 458752 - 57344
    assert memory_bytes(version, b"57344\n", stat) == 57344, "cache that seems to be all there is says nothing"


@pytest.mark.parametrize("version", [1, 2])
def test_file_without_the_figure_is_an_error_and_no_zero(version: int) -> None:
    with pytest.raises(ValueError, match="inactive_file"):
        memory_bytes(version, b"458752\n", b"cache 61440\nrss 5\n")
    with pytest.raises(ValueError, match=r"usage_usec|invalid literal"):
        cpu_ns(version, b"user_usec 30000\n")


def test_processes_that_cannot_be_seen_are_left_out() -> None:
    assert process_ids(b"10928\n11053\n") == [10928, 11053]
    assert process_ids(b"0\n0\n") == []


def test_network_counters_are_summed_over_all_but_loopback() -> None:
    assert network_counters(NET_DEV) == Network(516 + 4294967297, 2, 1120, 7)


@pytest.mark.parametrize("text", [b"", b"x\n", NET_DEV.splitlines()[0] + b"\nface\neth0: 1 2 3\n"])
def test_table_without_its_columns_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="interface"):
        network_counters(text)


def test_both_drivers_and_both_mounts_of_version_one_are_tried() -> None:
    paths = [place.cpu for place in places("/c", 1, "ab")]

    assert paths == [
        "/c/cpuacct/docker/ab/cpuacct.usage",
        "/c/cpuacct/system.slice/docker-ab.scope/cpuacct.usage",
        "/c/cpu,cpuacct/docker/ab/cpuacct.usage",
        "/c/cpu,cpuacct/system.slice/docker-ab.scope/cpuacct.usage",
    ]
    assert [place.members for place in places("/c", 2, "ab")] == ["/c/docker/ab", "/c/system.slice/docker-ab.scope"]


class Tree:
    """Folders that look like /sys/fs/cgroup and /proc."""

    def __init__(self, folder: Path, version: int) -> None:
        self.cgroups, self.processes = folder / "cgroup", folder / "proc"
        self.cgroups.mkdir()
        self.version = version
        if version == 2:
            (self.cgroups / "cgroup.controllers").write_text("cpu memory pids\n")

    def reader(self) -> CgroupReader:
        return CgroupReader(self.cgroups, self.processes)

    def container(self, name: str, pids: list[int], *, cpu_us: int = 49403) -> Path:
        """`name`: its folder below the version's roots; the folder that lists its processes."""
        if self.version == 2:
            files = {"cpu.stat": b"usage_usec %d\n" % cpu_us, "memory.current": b"458752\n", "memory.stat": V2_STAT}
            members = self._write(f"{name}", files)
        else:
            members = self._write(f"cpuacct/{name}", {"cpuacct.usage": b"%d\n" % (cpu_us * 1000)})
            self._write(f"memory/{name}", {"memory.usage_in_bytes": b"458752\n", "memory.stat": V1_STAT})
        self.members(members, pids)
        return members

    def members(self, folder: Path, pids: list[int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))

    def process(self, pid: int, text: bytes = NET_DEV) -> None:
        folder = self.processes / str(pid) / "net"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dev").write_bytes(text)

    def _write(self, folder: str, files: dict[str, bytes]) -> Path:
        path = self.cgroups / folder
        path.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (path / name).write_bytes(text)
        return path


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return Tree(tmp_path, request.param)


@pytest.mark.parametrize("name", ["docker/{}", "system.slice/docker-{}.scope"], ids=["cgroupfs", "systemd"])
def test_container_of_either_driver_is_read(tree: Tree, name: str) -> None:
    tree.container(name.format(ONE), [70, 71])
    tree.process(70)

    looks = tree.reader().read([ONE, TWO])

    assert list(looks) == [ONE], "the other one is nowhere, and is left out"
    reading = looks[ONE].reading
    assert (reading.cpu_ns, reading.memory_bytes) == (49_403_000, 458752 - 57344)
    assert (reading.rx_bytes, reading.rx_errors, reading.tx_bytes, reading.tx_errors) == network_counters(NET_DEV)


def test_container_that_ends_is_left_out_and_one_that_comes_is_read(tree: Tree) -> None:
    reader, folder = tree.reader(), tree.container(f"docker/{ONE}", [70])
    tree.process(70)
    assert list(reader.read([ONE, TWO])) == [ONE]

    for file in folder.iterdir():
        file.unlink()
    tree.container(f"docker/{TWO}", [80])
    tree.process(80)

    assert list(reader.read([ONE, TWO])) == [TWO]


def test_number_of_a_process_that_passed_on_to_a_stranger_is_not_believed(tree: Tree) -> None:
    reader, folder = tree.reader(), tree.container(f"docker/{ONE}", [70])
    tree.process(70)
    assert reader.read([ONE])[ONE].reading.rx_bytes == network_counters(NET_DEV).rx_bytes

    tree.members(folder, [71])  # 70 is still a process, but not one of the container
    tree.process(71, NET_DEV.replace(b"516", b"600"))
    assert reader.read([ONE])[ONE].reading.rx_bytes == network_counters(NET_DEV).rx_bytes + 84

    tree.members(folder, [])
    assert reader.read([ONE]) == {}


def test_process_that_is_just_ending_gives_way_to_another_of_the_container(tree: Tree) -> None:
    tree.container(f"docker/{ONE}", [70, 71])
    tree.process(71)

    assert tree.reader().read([ONE])[ONE].reading.tx_bytes == 1120


def test_container_with_groups_of_its_own_is_read_by_a_process_in_one_of_them(tree: Tree) -> None:
    folder = tree.container(f"docker/{ONE}", [])
    tree.members(folder / "empty", [])
    tree.members(folder / "init.scope", [75])
    tree.process(75)

    assert tree.reader().read([ONE])[ONE].reading.tx_bytes == 1120


def test_files_that_are_no_figures_are_left_out(tree: Tree) -> None:
    tree.container(f"docker/{ONE}", [70])
    tree.process(70, b"nothing\n")

    assert tree.reader().read([ONE]) == {}


def test_no_file_stays_open(tree: Tree) -> None:
    tree.container(f"docker/{ONE}", [70])
    tree.process(70)
    reader = tree.reader()
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(5):
        reader.read([ONE, TWO])

    assert len(os.listdir("/proc/self/fd")) == before
