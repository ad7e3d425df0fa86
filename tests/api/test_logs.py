"""Log lines over HTTP: what can be asked for, page by page, in days to download, and how wrong questions are told."""

from __future__ import annotations

import gzip
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestrator.logs.lines import SKYLARK, STDERR, SYSTEM
from tests.api.conftest import NOW, Api

SECOND = 1_433_753_256
ONE, TWO = "a9aff249-0db5-11e5-9fa4-0240eaf5c02d", "a9afcb38-0db5-11e5-9fa4-0240eaf5c02d"
LOGS = "/v1/services/ns/web/logs"
RANGE = f"start_time={SECOND}&end_time={SECOND + 100}"


def messages(api: Api, path: str) -> list[str]:
    return [line["message"] for line in api.get(path)]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("", ["GET /a 200", "Timeout of b", "2 lines dropped", "GET /c 500"]),
        ("stream=stdout", ["GET /a 200", "GET /c 500"]),
        ("stream=stderr", ["Timeout of b"]),
        ("stream=skylark", ["2 lines dropped"]),
        ("stream=", ["GET /a 200", "Timeout of b", "2 lines dropped", "GET /c 500"]),
        ("query=timeOUT", ["Timeout of b"]),
        ("query=get%20/&stream=stdout", ["GET /a 200", "GET /c 500"]),
        ("query=nothing", []),
        ("instance=a9afcb38", ["Timeout of b", "2 lines dropped"]),
        (f"instance={ONE.upper()}", ["GET /a 200", "GET /c 500"]),
        ("limit=2", ["GET /a 200", "Timeout of b"]),
        ("limit=2&newest=true", ["2 lines dropped", "GET /c 500"]),
    ],
)
def test_question_is_answered_with_the_lines_it_names(api: Api, question: str, found: list[str]) -> None:
    uuid = api.create()["uuid"]
    api.log(uuid, ONE, SECOND, "GET /a 200")
    api.log(uuid, TWO, SECOND + 1, "Timeout of b", STDERR)
    api.log(uuid, TWO, SECOND + 2, "2 lines dropped", SYSTEM)
    api.log(uuid, ONE, SECOND + 3, "GET /c 500")

    assert messages(api, f"{LOGS}?{RANGE}&{question}") == found


@pytest.mark.parametrize("lines", [0, 1, 6, 7])
def test_pages_lead_through_all_lines_once(api: Api, lines: int) -> None:
    uuid = api.create()["uuid"]
    for number in range(lines):
        api.log(uuid, ONE, SECOND + number // 4, f"line {number}")
    found: list[str] = []
    address: str | None = f"{LOGS}?{RANGE}&limit=3&application=a&query=line"
    while address is not None:
        response = api.client.get(address)
        assert response.status_code == 200, response.text
        found += [line["message"] for line in response.get_json()]
        link = response.headers.get("Link")
        api.later(3600)  # the next page is of the same range
        address = None if link is None else link.partition(">")[0].removeprefix("<http://localhost")
        assert link is None or link.endswith('; rel="next"')

    assert found == [f"line {number}" for number in range(lines)]


def test_last_page_has_a_cursor_to_go_on_from(api: Api) -> None:
    uuid = api.create()["uuid"]
    api.log(uuid, ONE, NOW.timestamp() - 5, "first")
    page = api.client.get(f"{LOGS}?limit=10")
    api.log(uuid, ONE, NOW.timestamp() - 4, "second")
    api.later(7200)

    assert "Link" not in page.headers
    assert messages(api, f"{LOGS}?limit=10&after={page.headers['X-Next-Cursor']}") == ["second"]


def test_page_of_long_lines_ends_early_and_leads_on(api: Api) -> None:
    uuid = api.create()["uuid"]
    for number in range(30):
        api.log(uuid, ONE, SECOND, f"{number} " + "x" * 500_000)
    page = api.client.get(f"{LOGS}?{RANGE}&limit=30")
    (link,) = page.headers.getlist("Link")
    rest = api.client.get(link.partition(">")[0].removeprefix("<http://localhost"))

    assert 10 < len(page.get_json()) < 25
    assert [line["message"].split()[0] for line in page.get_json() + rest.get_json()] == [str(n) for n in range(30)]


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("start_time=soon", "start_time", "'soon'"),
        ("limit=0", "limit", "greater than or equal to 1"),
        ("limit=10001", "limit", "less than or equal to 10000"),
        ("stream=stdin", "stream", "'stdout', 'stderr' or 'skylark'"),
        ("instance=web.0", "instance", "pattern"),
        ("query=a%00b", "query", "NUL"),
        ("after=nonsense", "after", "no cursor; allowed: X-Next-Cursor"),
        ("after=nonsense&limit=5", "after", "no cursor"),
        ("after=nonsense&follow=true", "after", "no cursor"),
        ("end_time=5&follow=true", "end_time", "not allowed with follow=true"),
        ("follow=perhaps", "follow", "boolean"),
        ("newest=true", "newest", "only allowed with limit"),
        ("strat_time=5&strict=true", "strat_time", "did you mean start_time?"),
    ],
)
def test_wrong_question_is_refused_with_field_fault_and_what_is_allowed(
    api: Api, query: str, field: str, words: str
) -> None:
    api.create()
    response = api.client.get(f"{LOGS}?{query}")

    assert response.status_code == 400
    (fault,) = response.get_json()["error"]["fields"][field]
    assert words in fault


def test_unknown_parameter_is_ignored_and_named(api: Api) -> None:
    api.create()

    assert "strat_time" in api.client.get(f"{LOGS}?strat_time=5").headers["X-Warnings"]
    assert "X-Warnings" not in api.client.get(f"{LOGS}?application=a&limit=5").headers


def test_skylarks_own_log_is_asked_like_a_services(api: Api) -> None:
    api.log(SKYLARK, "worker", NOW.timestamp() - 9, "INFO action service=ns/web", SYSTEM)
    api.log(SKYLARK, "worker", NOW.timestamp() - 8, "WARNING engine gone", SYSTEM)
    api.create()

    (line,) = api.get("/v1/logs?query=warning&stream=skylark&instance=worker&limit=5")
    assert line == {"instance_id": "worker", "message": "WARNING engine gone", "time": int(NOW.timestamp()) - 8}
    assert api.get(LOGS) == []
    assert api.client.get("/v1/logs", token=None).status_code == 401
    assert api.client.get("/v1/logs?instance=other").status_code == 400


def test_instance_that_is_not_the_paths_is_refused(api: Api) -> None:
    uuid = api.create()["uuid"]
    instance = api.add_instance(uuid)
    path = f"/v1/services/ns/web/instances/{instance}/logs"

    assert api.client.get(f"{path}?instance={instance[:8]}").status_code == 200
    assert api.client.get(f"{path}?instance=00000000").status_code == 400


def day_of_lines(api: Api) -> str:
    """A service with lines on two days; the address of the first day's file, as the published client reads it."""
    uuid = api.create()["uuid"]
    for at, message in ((86_399.5, "before"), (86_400, "midnight"), (172_799.999, "läst"), (172_800, "after")):
        api.log(uuid, ONE, at, message)
    response = api.client.get("/v1/services/ns/web/logs-download/19700102/")
    assert response.status_code == 200, response.text
    return response.text.strip('"')


def fetch(api: Api, address: str) -> Any:
    parts = urlsplit(address)
    return api.client.get(f"{parts.path}?{parts.query}", token=None)


def test_day_is_downloaded_whole_without_a_token(api: Api) -> None:
    address = day_of_lines(api)
    response = fetch(api, address)

    assert address.startswith("http://localhost/v1/log-downloads/")
    assert api.get("/v1/services/ns/web/logs-download") == ["19700101", "19700102", "19700103"]
    assert response.headers["Content-Disposition"] == 'attachment; filename="web-19700102.log.gz"'
    assert gzip.decompress(response.data).decode() == (
        "1970-01-02T00:00:00.000000000Z a9aff249 stdout midnight\n1970-01-02T23:59:59.999000000Z a9aff249 stdout läst\n"
    )


def test_address_follows_the_host_by_which_the_client_came(api: Api) -> None:
    day_of_lines(api)
    path = "/v1/services/ns/web/logs-download/19700102"

    assert api.client.get(path, base_url="https://sky.example:8443").text.startswith('"https://sky.example:8443/v1/')


def test_address_expires_and_says_so(api: Api) -> None:
    address = day_of_lines(api)
    api.later(15 * 60 - 1)
    assert fetch(api, address).status_code == 200
    api.later(2)
    refused = fetch(api, address)

    assert refused.status_code == 403
    assert "expired" in refused.get_json()["error"]["message"]


@pytest.mark.parametrize(
    ("old", "new"), [("19700102", "19700103"), ("expires=1", "expires=2"), ("signature=", "signature=0")]
)
def test_tampered_address_is_refused(api: Api, old: str, new: str) -> None:
    address = day_of_lines(api)
    assert old in address
    refused = fetch(api, address.replace(old, new, 1))

    assert refused.status_code == 403
    assert "not one that this installation gave out" in refused.get_json()["error"]["message"]


@pytest.mark.parametrize(
    ("day", "status"), [("2026013", 400), ("20261301", 400), ("yesterday", 400), ("20260131", 404)]
)
def test_day_that_is_none_or_has_no_lines_is_told(api: Api, day: str, status: int) -> None:
    api.create()
    response = api.client.get(f"/v1/services/ns/web/logs-download/{day}/")

    assert response.status_code == status
    assert day in response.get_json()["error"]["message"]
