"""Imported by the supervisor before it forks: what libraries would import later, when a process has given up root.

The program, and Python itself, may lie where only root can read (a checkout in root's home, pyenv). A process that
gave up root then has what was imported, and nothing else.
"""

import asyncio.base_events
import encodings.ascii
import encodings.idna
import encodings.latin_1
import encodings.utf_8_sig
import encodings.utf_16
import encodings.utf_16_be
import encodings.utf_16_le
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
    encodings.utf_16,
    encodings.utf_16_be,
    encodings.utf_16_le,
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
