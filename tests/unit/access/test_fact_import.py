"""Facts from files: both formats, all encodings, every error with its line and column; no formulas on the way out."""

import contextlib
import csv
import io
import json
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.access.fact_import import COLUMNS, FactRow, defuse, read_fact_rows, write_life
from evertunnel.errors import InvalidInputError
from evertunnel.model import SubjectKind

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
CSV = "device,fact,value,observed_at,life\nlaptop1,compliant,True,2026-05-04T10:00:00Z,8h\n"


def read(text: str | bytes) -> list[FactRow]:
    return read_fact_rows(text if isinstance(text, bytes) else text.encode(), now=NOW)


def refuse(text: str | bytes) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read(text)
    assert len(str(caught.value)) < 900
    return str(caught.value)


ROW = FactRow(
    "line 2", SubjectKind.DEVICE, "laptop1", "compliant", "true", NOW - timedelta(hours=2), timedelta(hours=8)
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_csv_in_any_encoding_says_the_same(encoding: str, ending: str) -> None:
    assert read(CSV.replace("\n", ending).encode(encoding)) == [ROW]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_spreadsheets_of_other_countries_and_other_orders_of_columns(delimiter: str) -> None:
    text = "Value,FACT,device\ntrue,Compliant,laptop1\n".replace(",", delimiter)
    assert read(text) == [FactRow("line 2", SubjectKind.DEVICE, "laptop1", "compliant", "true", None, None)]


def test_json_says_the_same_as_csv() -> None:
    row = {
        "device": "laptop1",
        "fact": "compliant",
        "value": True,
        "observed_at": "2026-05-04T10:00:00Z",
        "life": 28800,
    }
    for document in ([row], {"value": [row]}):
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            [found] = read(json.dumps(document).encode(encoding))
            assert found.place == "$[0]"
            assert (found.name, found.value, found.observed_at, found.life) == (
                ROW.name, ROW.value, ROW.observed_at, ROW.life,
            )  # fmt: skip


def test_lists_users_and_other_zones() -> None:
    rows = read(json.dumps([
        {"device": "d", "fact": "physicalIds", "value": ["[ZTDId]:1", "[OrderId]:2"]},
        {"user": "alice@corp.example", "fact": "USER_RISK", "value": "High",
         "observed_at": "2026-05-04T13:00:00+02:00"},
    ]))  # fmt: skip
    assert rows[0].value == "[ZTDId]:1;[OrderId]:2"
    assert (rows[1].kind, rows[1].value, rows[1].observed_at) == (
        SubjectKind.USER, "high", NOW - timedelta(hours=1),
    )  # fmt: skip


def test_a_cell_may_hold_a_line_break_and_later_lines_keep_their_number() -> None:
    text = 'device,fact,value\nd,model,"two\nlines"\n'
    assert "line 2, column value: model holds a character that cannot be printed" in refuse(text)
    text = 'device,fact,value,life\nd,model,Latitude,"\n"\n\nd,model,,\n'
    assert refuse(text).startswith("line 5, column value: model is a text")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (",compliant,true,,", "line 2, column device: name a device, or a user"),
        ("d,,true,,", "line 2, column fact: '' is no fact about a device; known are compliant, domain_joined"),
        ("d,compliance,true,,", "line 2, column fact: 'compliance' is no fact about a device"),
        ("d,isCompliant,true,,", "line 2, column fact: 'isCompliant' follows from compliant"),
        ("d,displayName,x,,", "line 2, column fact: 'displayName' is the device's name"),
        ("d,user_risk,high,,", "line 2, column fact: 'user_risk' is no fact about a device"),
        ("d,not_compliant_since,2026-01-01,,", "line 2, column fact"),
        ("d,compliant,yes,,", "line 2, column value: compliant is true or false, not 'yes'"),
        ("d,compliant,,,", "line 2, column value: compliant is true or false, not empty"),
        ("d,trustType,Local,,", 'line 2, column value: trustType is "AzureAD" or "ServerAD" or "Workplace", not'),
        ("d,deviceId,17,,", "line 2, column value: deviceId is a GUID"),
        (f"d,model,{'x' * 257},,", "line 2, column value: model is a text"),
        ("d,model,a\x1b[31m,,", "line 2, column value: model holds a character"),
        ("d,compliant,true,yesterday,", "line 2, column observed_at: 'yesterday' is not a time"),
        ("d,compliant,true,2026-05-04T10:00:00,", "line 2, column observed_at: '2026-05-04T10:00:00' has no time zone"),
        (
            "d,compliant,true,2026-05-04T12:05:01Z,",
            "line 2, column observed_at: '2026-05-04T12:05:01Z' is in the future",
        ),
        ("d,compliant,true,,never", "line 2, column life: 'never' is not a time such as 90s"),
        ("d,compliant,true,,0", "line 2, column life"),
        ("d,compliant,true,,367d", "line 2, column life"),
        ("d,compliant,true", "line 2: has 3 cells, the header has 5"),
        ('d,compliant,"true,,', "line 2: unexpected end of data"),
    ],
)
def test_each_error_names_line_and_column(line: str, words: str) -> None:
    assert words in refuse("device,fact,value,observed_at,life\n" + line)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("\ufeff \n", "the file is empty"),
        ("device,fact,value\n", "the file has no rows"),
        ("[]", "the file has no rows"),
        ("device,fact\nd,compliant\n", "line 1: the header has no column value"),
        ("device,fact,value,when\n", "line 1: 'when' is no column; the columns are device, user, fact"),
        ("device,fact,value,value\n", "line 1: the header names value twice"),
        ("device,user,fact,value\nd,u,compliant,true\n", "line 2, column device: name a device, or a user"),
        ('{"device": "d"}', "the JSON must be an array of rows"),
        ("[1]", "$[0]: must be an object"),
        ('[{"devices": "d"}]', "$[0]: 'devices' is no column"),
        ('[{"device": "d", "fact": "model", "value": 7}]', "$[0], column value: must be a text in quotes"),
        ('[{"device": "d", "fact": "physicalIds", "value": ["a;b"]}]', "$[0], column value: must be a text"),
        ('[{"device": "d", "fact": "model", "value": "\\ud800"}]', "$[0], column value: model holds a character"),
        ("[" * 100_000, "the JSON is nested too deeply"),
        ('[{"device": "d", "fact": "compliant", "value": false, "value": true}]', "has the key 'value' twice"),
        ('[{"device": ', "the JSON cannot be read: "),
        (b"device,fact,value\nd,model,\xff\n", "line 2: is not utf-8"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(text: str | bytes, words: str) -> None:
    assert words in refuse(text)


def test_a_clock_a_little_ahead_is_taken_for_now() -> None:
    [row] = read("device,fact,value,observed_at\nd,compliant,true,2026-05-04T12:04:00Z\n")
    assert row.observed_at == NOW


def test_the_oldest_time_in_the_furthest_zone_is_no_crash() -> None:
    moment = datetime.min.replace(tzinfo=timezone(timedelta(hours=23))).isoformat()
    assert "too long ago" in refuse(f"device,fact,value,observed_at\nd,compliant,true,{moment}\n")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=40))
def test_what_goes_out_is_no_formula_and_comes_back_the_same(text: str) -> None:
    assert defuse(text)[0] not in "=+-@\t\r"
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS)
    writer.writeheader()
    cells = dict.fromkeys(COLUMNS, "") | {"device": "d", "fact": "model", "value": text, "life": write_life(NOW - NOW)}
    writer.writerow({column: defuse(cell) for column, cell in cells.items()})
    [row] = read(stream.getvalue())
    assert row.value == text.strip()


@given(st.sampled_from([b"", b"device,fact,value\n", b"[{"]), st.binary(max_size=200))
def test_whatever_bytes_come_they_are_rows_or_one_error(start: bytes, data: bytes) -> None:
    with contextlib.suppress(InvalidInputError):
        read(start + data)


def test_a_hundred_thousand_rows_are_read_in_bounded_time_and_more_are_refused() -> None:
    text = "device,fact,value\n" + "".join(f"d{number},compliant,true\n" for number in range(100_000))
    began = time.process_time()
    assert len(read(text)) == 100_000
    assert time.process_time() - began < 5
    assert "more than 100000 rows" in refuse(text + "d,compliant,true\n")


@pytest.mark.parametrize("name", ["a\\ud800li", "a\\u0000", " ", "a\\u001b[2J"])
def test_a_name_that_nobody_can_have_is_refused_in_its_column(name: str) -> None:
    row = (
        {"device": "laptop1", "fact": "compliant", "value": True},
        {"user": "NAME", "fact": "user_risk", "value": "low"},
    )
    rows = json.dumps(row)
    said = refuse(rows.replace("NAME", name))
    assert said.startswith("$[1], column user: ") and said.isprintable()
