"""The admin API over its Unix socket."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import typer

from evertunnel.cli.output import fail, say
from evertunnel.state_folder import StateFolder


def get_folder(context: typer.Context) -> StateFolder:
    """The state folder chosen with --state."""
    folder = context.find_root().obj
    assert isinstance(folder, StateFolder)
    return folder


_UNAVAILABLE = 503


class ServerAwayError(Exception):
    """Nobody answers."""


class API:
    """Calls; an error of the server is one line and exit code 1, a server that is away is 3.

    With `away_is_error` that raises ServerAwayError instead: whoever asks waits until it is back.
    """

    def __init__(self, context: typer.Context, *, away_is_error: bool = False) -> None:
        import httpx2

        self._away_is_error = away_is_error
        self._path: Path = get_folder(context).admin_socket
        self._client = httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(self._path)), base_url="http://admin", timeout=30
        )
        context.call_on_close(self._client.close)

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

    def stream(self, *path: str, **query: Any) -> Iterator[bytes]:
        """Read what may be long, piece by piece; one that breaks off ends the command."""
        import httpx2

        params = {key: value for key, value in query.items() if value is not None}
        request = self._build_request("GET", path, params=params)
        try:
            response = self._client.send(request, stream=True)
            try:
                if not response.is_success:
                    response.read()
                    self._take(response)
                yield from response.iter_bytes()
            finally:
                response.close()
        except httpx2.HTTPError as error:
            self._fail_unreachable(error)

    def _call(self, method: str, path: tuple[str, ...], **arguments: Any) -> Any:
        import httpx2

        request = self._build_request(method, path, **arguments)
        try:
            response = self._client.send(request)
        except httpx2.HTTPError as error:
            self._fail_unreachable(error)
        return self._take(response)

    def _build_request(self, method: str, path: tuple[str, ...], **arguments: Any) -> Any:
        import httpx2

        try:
            return self._client.build_request(method, _build_url(path), **arguments)
        except httpx2.InvalidURL:
            fail("this cannot be sent: a name in it is too long")
        except UnicodeEncodeError:
            fail("what was given holds bytes that are no UTF-8, which no name here has")
        except ValueError:
            fail("this cannot be sent: a number in it is none, such as NaN, or too large")

    def _fail_unreachable(self, error: Exception) -> NoReturn:
        if self._away_is_error:
            raise ServerAwayError(str(error)) from error
        fail(
            f"the server at {self._path} cannot be reached ({error}): is `evertunnel serve` running, "
            "and is --state right?",
            code=3,
        )

    def _take(self, response: Any) -> Any:  # noqa: RET503  fail() never returns
        if response.is_success:
            return response.json() if response.content else None
        if response.status_code == _UNAVAILABLE and self._away_is_error:
            raise ServerAwayError("its database is away")
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


def _build_url(path: tuple[str, ...]) -> str:
    return "/v1/" + "/".join(_quote(part) for part in path)


def _quote(name: str) -> str:
    """A name as a part of an address, where . and .. lead elsewhere: what is called so could not be removed."""
    return name.replace(".", "%2E") if name in (".", "..") else quote(name, safe="")
