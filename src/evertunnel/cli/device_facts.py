"""evertunnel device import-facts, export-facts."""

from pathlib import Path
from typing import Annotated

import typer

from evertunnel.cli.client import API
from evertunnel.cli.cut import CUT
from evertunnel.cli.device import app
from evertunnel.cli.output import fail, say
from evertunnel.cli.small_files import read_small_file

# A hundred thousand rows take some seconds, and more on a busy machine.
_IMPORT_SECONDS = 300.0
_LARGEST_FILE = 32 * 1024 * 1024


@app.command("import-facts")
def import_facts(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON array, or CSV with a header.")],
    source: Annotated[str, typer.Option(help="Whose word it is: import, script or mdm.")] = "import",
    *,
    cut: CUT = False,
) -> None:
    """Import facts about devices and users: columns device or user, fact, value, observed_at, life. All rows or none.

    What would end a large share of the live sessions asks first: an export may have gone wrong.
    A life is such as 90s, 30m, 8h or 7d; docs/compliance.md has the names of facts and a file to begin with.

    Example: evertunnel device import-facts facts.csv --source mdm
    """
    content = read_small_file(file, _LARGEST_FILE)
    query = {"source": source, "confirmed": cut}
    done = API(context).upload("facts", "imports", content=content, timeout_seconds=_IMPORT_SECONDS, **query)
    say(f"Imported {done['rows']} facts; something changed of {done['changed']} devices and users.")


@app.command("export-facts")
def export_facts(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The CSV file to write.")],
    source: Annotated[str | None, typer.Option(help="What this source said; default: all, with their sources.")] = None,
) -> None:
    """Export reported facts as CSV, safe to open in a spreadsheet; import-facts reads those of one source back.

    Example: evertunnel device export-facts --source mdm --out facts.csv
    """
    text = API(context).get("facts", "export", source=source)["csv"]
    try:
        with out.open("x", encoding="utf-8", newline="") as stream:
            stream.write(text)
    except OSError as error:
        fail(f"{out} cannot be written: {error.strerror}")
    say(f"Wrote {out}.")
