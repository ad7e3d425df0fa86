"""The monitoring files of deploy/ against a real Prometheus and a real Skylark."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import PROJECT
from tests.support.haproxy import request
from tests.support.poll import eventually
from tests.support.registry import Images, free_port
from tests.support.skylark import TOKEN, MakeSkylark, Skylark

pytestmark = pytest.mark.docker
MONITORING = PROJECT / "deploy" / "monitoring"
UNPACKED = PROJECT / "build" / "bench" / "usr" / "bin"


class Prometheus:
    """A real Prometheus with the configuration of deploy/, only its target, its rhythm and its token are the test's."""

    def __init__(self, folder: Path, target: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        text = (MONITORING / "prometheus.yml").read_text()
        assert text.count("127.0.0.1:8000") == 1
        assert text.count("scrape_interval: 15s") == 1
        text = text.replace("127.0.0.1:8000", target).replace("scrape_interval: 15s", "scrape_interval: 1s")
        (folder / "prometheus.yml").write_text(text)
        shutil.copy(MONITORING / "skylark-rules.yml", folder)
        (folder / "admin_token").write_text(TOKEN)
        command = [tool("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, f"--web.listen-address={self.address}"], stdout=log, stderr=log, cwd=folder
            )

    def get(self, path: str, **query: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)["data"]

    def value(self, expression: str) -> list[float]:
        """What the expression gives now, one number a series."""
        return [float(series["value"][1]) for series in self.get("query", query=expression)["result"]]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)


def tool(name: str) -> str:
    """Where one of Prometheus' programs is; deploy/install.sh unpacks them."""
    found = shutil.which(name, path=f"{UNPACKED}:{os.environ['PATH']}")
    assert found, f"{name} is not there; run deploy/install.sh tests"
    return found


@pytest.fixture(scope="module")
def skylark(make_skylark: MakeSkylark, images: Images) -> Skylark:
    made = make_skylark.with_proxy(SKYLARK_METRIC_SECONDS="1").start()
    ports = [{"container_port": 80, "endpoint_type": "http-endpoint"}]
    made.api.create("shop", f"{images['web']}:v1", instance_ports=ports)
    made.api.running("shop", 1)
    return made


@pytest.fixture
def prometheus(skylark: Skylark, tmp_path: Path) -> Iterator[Prometheus]:
    made = Prometheus(tmp_path, skylark.address)
    yield made
    made.close()


def test_prometheus_scrapes_skylark_and_counts_requests_of_the_proxy(skylark: Skylark, prometheus: Prometheus) -> None:
    def requests() -> list[float]:
        request(skylark.http_port, "shop-madams.skylark.local")
        return prometheus.value('skylark_proxy_requests_total{service="shop"}')

    eventually(lambda: prometheus_up(prometheus), 30)
    eventually(lambda: requests() and requests()[0] >= 1, 30)
    assert prometheus.value('skylark_instances_ready{service="shop"}') == [1]
    assert prometheus.value("skylark_engine_up") == [1]


def prometheus_up(prometheus: Prometheus) -> bool:
    try:
        return prometheus.value('up{job="skylark"}') == [1]
    except OSError:
        return False


def test_every_metric_that_dashboard_and_alerts_ask_for_is_told(skylark: Skylark) -> None:
    dashboard = json.loads((MONITORING / "grafana-skylark.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = (MONITORING / "skylark-rules.yml").read_text()
    wanted = set(re.findall(r"skylark_[a-z0-9_]+", "\n".join([*expressions, rules])))
    assert len(wanted) > 15

    def told() -> set[str]:
        text = skylark.api.call("GET", "/metrics").text
        families = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
        return families | {f"{name}_bucket" for name in families} | {f"{name}_total" for name in families}

    def missing() -> set[str]:
        return wanted - told()

    def all_told() -> bool:
        assert not missing()
        return True

    eventually(all_told, 30)


def test_alert_rules_pass_prometheus_own_check() -> None:
    result = subprocess.run(
        [tool("promtool"), "check", "rules", MONITORING / "skylark-rules.yml"], capture_output=True, text=True
    )

    assert result.returncode == 0, result.stdout + result.stderr
