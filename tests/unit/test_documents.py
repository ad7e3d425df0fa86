"""What the documents promise about settings and files is true of the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from orchestrator.settings import Settings, read_settings

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
IN_FILE = {"regions", "sizes", "registries"}


def documented() -> dict[str, str]:
    """Variable -> default as the table of docs/operations.md has it."""
    rows = re.findall(r"^\| `(SKYLARK_[A-Z_]+)` \| ([^|]+?) \|", OPERATIONS, re.MULTILINE)
    return {variable: default.strip("`") for variable, default in rows}


def test_every_setting_is_in_the_table_and_no_other() -> None:
    settings = {f"SKYLARK_{field.name.upper()}" for field in fields(Settings) if field.name not in IN_FILE}

    assert set(documented()) == settings | {"SKYLARK_CONFIG"}


def test_documented_defaults_are_the_real_ones(tmp_path: Path) -> None:
    settings = read_settings({"SKYLARK_HOME": str(tmp_path)})
    for variable, text in documented().items():
        value = getattr(settings, variable.removeprefix("SKYLARK_").lower(), None)
        if isinstance(value, bool | int | float):
            assert float(text) == value, variable
        elif variable in ("SKYLARK_API_BIND", "SKYLARK_BASE_DOMAIN", "SKYLARK_VOLUME_MODE", "SKYLARK_LOG_FORMAT"):
            assert text == value


def test_the_sample_configuration_is_accepted(tmp_path: Path) -> None:
    sample = ROOT / "deploy" / "skylark.toml"
    settings = read_settings({"SKYLARK_HOME": str(tmp_path), "SKYLARK_CONFIG": str(sample)})

    assert list(settings.regions) == ["BEIJING1", "HONGKONG1", "SHANGHAI1"]
    assert settings.regions == read_settings({"SKYLARK_HOME": str(tmp_path)}).regions


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")]
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert not broken
