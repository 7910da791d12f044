"""Times as they are typed."""

from datetime import UTC, datetime

import pytest

from evertunnel.cli.moments import read_moment

NOW = datetime(2026, 5, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-01", "2026-05-01T00:00:00+00:00"),
        ("2026-05-01T08:00", "2026-05-01T08:00:00+00:00"),
        ("2026-05-01 08:00:30+02:00", "2026-05-01T06:00:30+00:00"),
        ("2026-05-01T08:00Z", "2026-05-01T08:00:00+00:00"),
        ("90s", "2026-05-02T11:58:30+00:00"),
        ("30m", "2026-05-02T11:30:00+00:00"),
        ("2h ago", "2026-05-02T10:00:00+00:00"),
        ("1d", "2026-05-01T12:00:00+00:00"),
        ("2w", "2026-04-18T12:00:00+00:00"),
    ],
)
def test_a_moment(text: str, moment: str) -> None:
    assert read_moment(text, "--since", now=NOW) == moment


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2", "h", "-2h", "2 h", "1.5h", "2y", "999999w", "9999999s", "٣h", "2026-02-30",
             "0001-01-01T00:00+14:00", "x" * 10_000]
)  # fmt: skip
def test_what_is_none_is_refused_in_one_short_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_moment(text, "--since", now=NOW)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("evertunnel: --since: ")
    assert told.count("\n") == 1
    assert len(told) < 300


def test_no_filter_is_none() -> None:
    assert read_moment(None, "--since", now=NOW) is None
