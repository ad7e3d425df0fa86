"""Settings: defaults, variables, the configuration file, and what is kept in the home folder."""

from __future__ import annotations

import stat
from pathlib import Path
from threading import Barrier, Thread

import pytest

from orchestrator.engine.base import RegistryAuth
from orchestrator.settings import LOCAL_ENGINE, Region, Settings, SettingsError, read_settings
from orchestrator.sizes import DEFAULT_SIZES, MIB, Size


def read(home: Path, **variables: str) -> Settings:
    return read_settings({"SKYLARK_HOME": str(home)} | {f"SKYLARK_{k.upper()}": v for k, v in variables.items()})


def with_file(home: Path, text: str) -> Settings:
    home.mkdir(exist_ok=True)
    (home / "skylark.toml").write_text(text)
    return read(home, config=str(home / "skylark.toml"))


def test_empty_environment_gives_the_defaults(tmp_path: Path) -> None:
    settings = read(tmp_path / "home")

    assert settings.home == tmp_path / "home"
    assert settings.api_bind == "127.0.0.1:8000"
    assert settings.tick_seconds == 5.0
    assert settings.sqlalchemy_url == f"sqlite:///{tmp_path}/home/skylark.sqlite"
    assert list(settings.regions) == ["BEIJING1", "HONGKONG1", "SHANGHAI1"]
    assert settings.default_region == "BEIJING1"
    assert settings.sizes == DEFAULT_SIZES
    assert settings.registries == {}


def test_home_defaults_to_a_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert read_settings({}).home == tmp_path / ".skylark"


def test_relative_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert read_settings({"SKYLARK_HOME": "state"}).home == tmp_path / "state"


def test_variables_are_converted(tmp_path: Path) -> None:
    settings = read(tmp_path, tick_seconds="0.5", launch_parallelism="8", legacy_empty_answers="1", log_format="json")

    assert (settings.tick_seconds, settings.launch_parallelism) == (0.5, 8)
    assert (settings.legacy_empty_answers, settings.log_format) == (True, "json")


def test_empty_variable_counts_as_not_given(tmp_path: Path) -> None:
    settings = read(tmp_path, tick_seconds="", admin_token="", installation="", config="")

    assert settings.tick_seconds == 5.0
    assert settings.admin_token


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tick_seconds", "soon"),
        ("tick_seconds", "0"),
        ("tick_seconds", "-1"),
        ("tick_seconds", "nan"),
        ("tick_seconds", "inf"),
        ("launch_parallelism", "4.5"),
        ("legacy_empty_answers", "perhaps"),
        ("log_format", "xml"),
        ("log_level", "LOUD"),
        ("volume_mode", "cloud"),
        ("container_log_driver", "syslog"),
        ("installation", "two words"),
        ("installation", "-dash"),
        ("installation", "x" * 64),
    ],
)
def test_wrong_value_is_refused_by_the_name_of_its_variable(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"SKYLARK_{name.upper()}"):
        read(tmp_path, **{name: text})


def test_installation_and_token_are_made_once_and_kept(tmp_path: Path) -> None:
    first, second = read(tmp_path), read(tmp_path)

    assert (first.installation, first.admin_token) == (second.installation, second.admin_token)
    assert len(first.admin_token) == 40
    assert stat.S_IMODE((tmp_path / "admin_token").stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"admin_token", "installation"}


def test_empty_token_file_is_refused_instead_of_letting_everybody_in(tmp_path: Path) -> None:
    (tmp_path / "admin_token").write_text("\n")

    with pytest.raises(SettingsError, match="admin_token is empty"):
        read(tmp_path)


def test_two_homes_are_two_installations(tmp_path: Path) -> None:
    assert read(tmp_path / "a").installation != read(tmp_path / "b").installation


def test_given_installation_and_token_win_over_kept_ones(tmp_path: Path) -> None:
    read(tmp_path)
    settings = read(tmp_path, installation="mine", admin_token="given")

    assert (settings.installation, settings.admin_token) == ("mine", "given")


def test_processes_that_start_together_agree_on_the_token(tmp_path: Path) -> None:
    barrier, found = Barrier(8), set()

    def start() -> None:
        barrier.wait()
        found.add(read(tmp_path).admin_token)

    threads = [Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert len(found) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"admin_token", "installation"}


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgres_url_means_psycopg_however_it_is_written(tmp_path: Path, scheme: str) -> None:
    settings = read(tmp_path, database_url=f"{scheme}://u:p@db/skylark")

    assert settings.sqlalchemy_url == "postgresql+psycopg://u:p@db/skylark"


def test_settings_never_show_their_secrets_when_printed(tmp_path: Path) -> None:
    settings = read(tmp_path, admin_token="tell-nobody", database_url="postgresql://u:hush@db/x")
    shown = repr(settings) + repr(RegistryAuth("ann", "secret-of-ann"))

    assert "tell-nobody" not in shown
    assert "hush" not in shown
    assert "secret-of-ann" not in shown


def test_file_sets_regions_sizes_and_registries(tmp_path: Path) -> None:
    settings = with_file(
        tmp_path,
        """
        [regions.HOME]
        iaas = "METAL"
        engine_url = "tcp://10.0.0.2:2376"
        [regions.AWAY]
        [sizes.XS]
        cpus = 0.5
        memory_mb = 700
        [registries."registry.example:5000"]
        username = "ann"
        password = "secret"
        """,
    )

    assert settings.regions == {
        "HOME": Region("HOME", "METAL", "tcp://10.0.0.2:2376"),
        "AWAY": Region("AWAY", "DOCKER", LOCAL_ENGINE),
    }
    assert settings.default_region == "HOME"
    assert settings.sizes["XS"] == Size(0.5, 700 * MIB)
    assert settings.sizes["S"] == DEFAULT_SIZES["S"]
    assert settings.registries == {"registry.example:5000": RegistryAuth("ann", "secret")}


@pytest.mark.parametrize(
    "text",
    [
        "regions = [",
        "[colours]",
        "[regions]",
        "regions = 3",
        "[regions]\nHOME = 'x'",
        "[sizes.XS]\ncpus = 1",
        "[sizes.XS]\ncpus = 'many'\nmemory_mb = 1",
        "[sizes.XS]\ncpus = 0\nmemory_mb = 512",
        "[sizes.XS]\ncpus = 1\nmemory_mb = -5",
        "[sizes.HUGE]\ncpus = 1\nmemory_mb = 512",
        "[registries.'r.example']\nusername = 'ann'",
    ],
)
def test_faulty_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="SKYLARK_CONFIG"):
        with_file(tmp_path, text)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        read(tmp_path, config=str(tmp_path / "nowhere.toml"))
