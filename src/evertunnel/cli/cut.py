"""The option of commands that may end many live sessions at once."""

from typing import Annotated

import typer

CUT = Annotated[bool, typer.Option("--cut", help="Do it even if that ends a large share of the live sessions.")]
