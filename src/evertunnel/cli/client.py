"""The admin API over its Unix socket."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer

from evertunnel.cli.output import fail, say
from evertunnel.state_folder import StateFolder


def get_folder(context: typer.Context) -> StateFolder:
    """The state folder chosen with --state."""
    folder = context.find_root().obj
    assert isinstance(folder, StateFolder)
    return folder


class API:
    """Calls; an error of the server is one line and exit code 1, a server that is away is 3."""

    def __init__(self, context: typer.Context) -> None:
        import httpx2

        self._path: Path = get_folder(context).admin_socket
        self._client = httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(self._path)), base_url="http://admin", timeout=30
        )

    def get(self, *path: str, **query: Any) -> Any:
        """Read."""
        return self._call("GET", path, params={key: value for key, value in query.items() if value is not None})

    def post(self, *path: str, body: Any = None, **query: Any) -> Any:
        """Make."""
        return self._call("POST", path, json=body, params=query)

    def upload(self, *path: str, content: bytes, timeout_seconds: float, **query: Any) -> Any:
        """Send a file as it is; what is made of it may take its time."""
        return self._call("POST", path, content=content, params=query, timeout=timeout_seconds)

    def patch(self, *path: str, body: Any, **query: Any) -> Any:
        """Change."""
        return self._call("PATCH", path, json=body, params=query)

    def put(self, *path: str, body: Any = None, **query: Any) -> Any:
        """Put in place."""
        return self._call("PUT", path, json=body, params=query)

    def delete(self, *path: str, **query: Any) -> Any:
        """Take away."""
        return self._call("DELETE", path, params=query)

    def _call(self, method: str, path: tuple[str, ...], **arguments: Any) -> Any:  # noqa: RET503  fail() never returns
        import httpx2

        url = "/v1/" + "/".join(quote(part, safe="") for part in path)
        try:
            response = self._client.request(method, url, **arguments)
        except httpx2.HTTPError as error:
            fail(
                f"the server at {self._path} cannot be reached ({error}): is `evertunnel serve` running, "
                "and is --state right?",
                code=3,
            )
        if response.is_success:
            return response.json() if response.content else None
        try:
            answer = response.json()
            title = str(answer["title"])
            problems = [f"{each['place']}: {each['problem']}" for each in answer.get("problems", [])]
            mend = f": {answer['mend']}" if "mend" in answer else ""
        except (ValueError, KeyError, TypeError):
            title, problems, mend = f"the server answered {response.status_code}", [], ""
        for problem in problems:
            say(f"  {problem}", error=True)
        fail(f"{len(problems)} problems, listed above; nothing was changed{mend}" if problems else title)
