"""Facts in bulk, in and out."""

import csv
import io
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from evertunnel.access.fact_import import BYTES_AT_MOST, COLUMNS, defuse
from evertunnel.actions.import_facts import Imported, import_facts, list_fact_cells
from evertunnel.errors import InvalidInputError
from evertunnel.storage.store import Store
from evertunnel.web.api.context import Actor, Context
from evertunnel.web.api.cuts import make_change
from evertunnel.web.bodies import read_body

router = APIRouter(prefix="/v1/facts", tags=["facts"])


@router.post("/imports", status_code=201)
async def import_file(
    request: Request,
    context: Context,
    actor: Actor,
    source: Annotated[str, Query()] = "import",
    *,
    confirmed: bool = False,
) -> dict[str, int]:
    """Import a file as it is: JSON or CSV, UTF-8 or UTF-16."""
    data = await read_body(request, BYTES_AT_MOST)
    if data is None:
        raise InvalidInputError(f"the file is larger than {BYTES_AT_MOST // 1024 // 1024} MiB: import it in parts")

    def change(store: Store) -> Imported:
        return import_facts(store, data, source=source, actor=actor, now=context.clock())

    # An export that went wrong may say that nobody is compliant.
    done = await run_in_threadpool(make_change, context, change, confirmed=confirmed)
    return {"rows": done.rows, "changed": done.changed}


@router.get("/export")
def export(context: Context, source: Annotated[str | None, Query()] = None) -> dict[str, Any]:
    """Every fact that somebody, or one source, reported, as CSV that no spreadsheet takes for formulas."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*COLUMNS, *([] if source else ["source"])], extrasaction="ignore")
    writer.writeheader()
    for cells in list_fact_cells(context.store, source=source):
        writer.writerow({column: defuse(cell) for column, cell in cells.items()})
    return {"csv": stream.getvalue()}
