"""Changing settings in a text and nothing else."""

import tomllib

import pytest

from evertunnel.config_text import remove_setting, set_settings

TEXT = '# mine\ndatabase_url = "sqlite:////x.db"\n[listen]\nradius = "127.0.0.1:1"  # why\n\n[processes]\ngate = "g"\n'


def test_a_setting_is_changed_and_comments_stay() -> None:
    text = set_settings(TEXT, "processes", {"gate": 'a"\nb', "group": "é"})
    assert tomllib.loads(text)["processes"] == {"gate": 'a"\nb', "group": "é"}
    assert "# mine" in text and "# why" in text


def test_a_section_that_is_missing_is_added() -> None:
    assert tomllib.loads(set_settings(TEXT, "keys", {"sealing": "file"}))["keys"] == {"sealing": "file"}


@pytest.mark.parametrize("name", ["radius", "gate", "mine"])
def test_only_what_stands_above_all_sections_is_removed(name: str) -> None:
    assert tomllib.loads(remove_setting(TEXT, name)) == tomllib.loads(TEXT)
    assert "database_url" not in remove_setting(TEXT, "database_url")
