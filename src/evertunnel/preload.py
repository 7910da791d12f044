"""Imported by the supervisor before it forks: what libraries would import later, when a process has given up root.

The program may lie where only root can read (a checkout in root's home). A process that gave up root then has what
was imported, and nothing else.
"""

import asyncio.base_events
import encodings.ascii
import encodings.idna
import encodings.latin_1
import encodings.utf_8_sig
import sqlite3
import stringprep

import anyio._backends._asyncio
import maxminddb
import sqlalchemy.dialects.sqlite
import uvicorn.lifespan.off
import uvicorn.loops.asyncio
import uvicorn.protocols.http.httptools_impl
import uvicorn.protocols.utils
import vici

# Naming them says that the imports above are the purpose of this file.
PRELOADED = (
    asyncio.base_events,
    encodings.ascii,
    encodings.idna,
    encodings.latin_1,
    encodings.utf_8_sig,
    sqlite3,
    stringprep,
    anyio._backends._asyncio,
    maxminddb,
    sqlalchemy.dialects.sqlite,
    uvicorn.lifespan.off,
    uvicorn.loops.asyncio,
    uvicorn.protocols.http.httptools_impl,
    uvicorn.protocols.utils,
    vici,
)
