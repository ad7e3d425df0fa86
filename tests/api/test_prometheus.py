"""GET /metrics: what Prometheus reads."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from api.context import EXTENSION
from orchestrator.settings import Settings
from orchestrator.store.lease import beat
from tests.api.conftest import NOW, Api


def scraped(api: Api) -> dict[str, float]:
    """name{labels} -> value of every sample."""
    response = api.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_scrape_without_the_token_is_refused(api: Api) -> None:
    assert api.client.get("/metrics", token=None).status_code == 401


def test_services_are_counted_by_status_and_those_without_any_are_zero(api: Api) -> None:
    api.create("one")
    api.create("two", target_state="STOPPED")

    found = scraped(api)

    assert found["skylark_services status=Deploying"] == 1
    assert found["skylark_services status=Stopped"] == 1
    assert found["skylark_services status=Error"] == 0


def test_instances_are_counted_by_phase_beside_what_is_wanted(api: Api) -> None:
    uuid = api.create("web", target_num_instances=3)["uuid"]
    api.add_instance(uuid, slot=0, phase="running", ready_at=NOW)
    api.add_instance(uuid, slot=1, phase="running")
    api.add_instance(uuid, slot=2, phase="created")

    found = scraped(api)

    assert found["skylark_instances namespace=ns phase=running service=web"] == 2
    assert found["skylark_instances namespace=ns phase=created service=web"] == 1
    assert found["skylark_instances_ready namespace=ns service=web"] == 1
    assert found["skylark_instances_wanted namespace=ns service=web"] == 3


def test_nothing_is_wanted_of_a_stopped_service(api: Api) -> None:
    api.create("web", target_num_instances=3, target_state="STOPPED")

    assert scraped(api)["skylark_instances_wanted namespace=ns service=web"] == 0


def test_engines_and_the_worker_are_told_with_when_they_were_seen(api: Api, settings: Settings) -> None:
    regions = {name: replace(settings.regions["BEIJING1"], engine_url=f"unix:///{name}") for name in ("a", "b")}
    api.app.extensions[EXTENSION] = replace(api.context, settings=replace(settings, regions=regions))
    with api.sessions.begin() as session:
        beat(session, "worker", NOW)
        beat(session, "engine:unix:///a", NOW, "does not answer")
        beat(session, "engine:unix:///b", NOW)
        beat(session, "engine:unix:///gone", NOW, "was taken out of the configuration")

    found = scraped(api)

    assert found["skylark_last_seen_timestamp_seconds who=worker"] == NOW.timestamp()
    assert found["skylark_engine_up engine=unix:///a"] == 0
    assert found["skylark_engine_up engine=unix:///b"] == 1
    assert not [name for name in found if "unix:///gone" in name]


def test_what_the_worker_wrote_is_handed_on(api: Api, settings: Settings) -> None:
    path = settings.figures_path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('# TYPE skylark_queue_depth gauge\nskylark_queue_depth{verb="launch"} 7.0\n')

    assert scraped(api)["skylark_queue_depth verb=launch"] == 7


def test_figures_that_cannot_be_read_leave_the_rest(api: Api, settings: Settings) -> None:
    settings.figures_path.mkdir(parents=True)

    assert scraped(api)["skylark_database_up"] == 1


def test_a_database_that_fails_is_told_and_nothing_is_called_zero(api: Api) -> None:
    with api.sessions.begin() as session:
        session.connection().exec_driver_sql("DROP TABLE services")

    found = scraped(api)

    assert found["skylark_database_up"] == 0
    assert not [name for name in found if name.startswith("skylark_services")]
