"""What an MDM exports about devices and users, in CSV and JSON."""

import csv
import io

from evertunnel.access.fact_import import COLUMNS, defuse, read_fact_rows, write_life
from evertunnel.errors import InvalidInputError
from evertunnel.model import SubjectKind
from tests.fuzz.target import Target
from tests.unit.access.samples import NOW

_CSV = (
    "device,user,fact,value,observed_at,life\nlaptop1,,compliant,True,2026-05-04T10:00:00Z,8h\n,alice,user_risk,low,,\n"
)


def build() -> Target:
    """Both formats, all encodings, other delimiters."""
    as_json = (
        '[{"device": "laptop1", "fact": "compliant", "value": true, "observed_at": "2026-05-04T10:00:00Z"}, '
        '{"user": "alice", "fact": "user_risk", "value": "high", "life": "1d"}]'
    )
    texts = [
        _CSV,
        _CSV.replace(",", ";"),
        _CSV.replace(",", "\t").replace("\n", "\r\n"),
        as_json,
        f'{{"value": {as_json}}}',
    ]
    seeds = [text.encode(encoding) for text in texts for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be")]
    words = [
        "compliant",
        "user_risk",
        "disk_encryption",
        '""',
        "'=",
        "\\ud800",
        "1e999",
        "[[[[",
        "+00:00",
        "9999-12-31T",
    ]
    return Target(check, seeds, words=[word.encode() for word in words])


def check(data: bytes) -> None:
    """Read them; written again for a spreadsheet they say the same."""
    try:
        rows = read_fact_rows(data, now=NOW)
    except InvalidInputError as error:
        assert 0 < len(str(error)) < 2_000
        return
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for row in rows:
        device, user = (row.subject, "") if row.kind is SubjectKind.DEVICE else ("", row.subject)
        seen = row.observed_at.isoformat() if row.observed_at else ""
        writer.writerow([*map(defuse, (device, user, row.name, row.value)), seen, write_life(row.life)])
    again = read_fact_rows(file.getvalue().encode(), now=NOW)
    told = [[(row.kind, row.subject, row.name, row.value, row.observed_at) for row in each] for each in (rows, again)]
    assert told[0] == told[1]
