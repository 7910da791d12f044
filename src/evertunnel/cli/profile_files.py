"""evertunnel profile lint, import, export, diff, formats: on files, which need no server, and on stored profiles."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.output import clean, fail, print_json, print_table, say
from evertunnel.cli.profile import JSON, app
from evertunnel.cli.small_files import is_file, read_small_file
from evertunnel.errors import InvalidInputError

if TYPE_CHECKING:
    from evertunnel.profiles.findings import Finding, Reading
    from evertunnel.profiles.offer import Offer

Source = Annotated[str, typer.Argument(help="A file in any format, or a stored profile's name.")]


@app.command()
def lint(
    context: typer.Context,
    source: Annotated[list[str], typer.Argument(help="Files in any format, or names of stored profiles.")],
    against: Annotated[str | None, typer.Option(help="A gateway that the profile must meet.")] = None,
    json: JSON = False,
) -> None:
    """Say what is wrong in a profile, where, why, and the mend. Exit 1 when there are errors.

    Example: evertunnel profile lint VPN_Profile.xml
    """
    from evertunnel.profiles.findings import Level
    from evertunnel.profiles.lint.linter import lint_together

    readings = [(name, reading) for name in source for reading in _read(context, name)]
    offer = _get_offer(context, against) if against else None
    found = [(name, finding) for name, reading in readings for finding in _lint(reading, offer)]
    found += [("together", finding) for finding in lint_together([reading.profile for _, reading in readings])]
    if json:
        print_json([{"file": name, **_encode(finding)} for name, finding in found])
    for name, finding in [] if json else found:
        place = ":".join(str(part) for part in (name, finding.line, finding.path or finding.field) if part)
        client = f" [{finding.client}]" if finding.client else ""
        say(f"{finding.level.value}: {place}: {finding.what}{client}")
        say(f"    why: {finding.why}")
        say(f"    mend: {finding.mend}  ({finding.rule})")
    errors = sum(finding.level is Level.ERROR for _, finding in found)
    if not json:
        say(f"{len(readings)} profiles read, {errors} errors, {len(found) - errors} advice.")
    if errors:
        raise typer.Exit(1)


@app.command("import")
def import_profile(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="ProfileXML, .reg, Graph JSON, swanctl.conf, our script or our JSON.")],
    gateway: Annotated[str | None, typer.Option(help="The gateway it is for.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and report; keep nothing and need no server.")
    ] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Keep it although the file has errors.")] = False,
) -> None:
    """Read profiles from a file and keep them, with a report of what was not understood.

    Example: evertunnel profile import VPN_Profile.xml --dry-run
    """
    from evertunnel.profiles.document import encode_document
    from evertunnel.profiles.findings import Level

    readings = _read_file(file)
    for reading in readings:
        for finding in reading.findings:
            line = f"line {finding.line}, " if finding.line else ""
            say(f"{finding.level.value}: {line}{finding.path}: {finding.what}")
        say(f"Read {reading.profile.name} ({reading.format}, {reading.profile.tunnel.value} tunnel).")
    if dry_run:
        return
    errors = sum(finding.level is Level.ERROR for reading in readings for finding in reading.findings)
    if errors and not anyway:
        # A condition that could not be read is not there afterwards: a filter would let more through.
        fail(f"{file} has {errors} errors: mend them, or keep what was understood with --anyway")
    api = API(context)
    for reading in readings:
        saved = api.put("profiles", body={"document": encode_document(reading.profile), "gateway": gateway})
        say(f"Saved {reading.profile.name}, version {saved['profile']['version']}.")


@app.command()
def export(
    context: typer.Context,
    source: Source,
    format_name: Annotated[str, typer.Option("--format", help="One of `evertunnel profile formats`.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write; without it the text goes to standard output.")
    ] = None,
    server_url: Annotated[str, typer.Option(help="Where clients enrol, for certificate-script.")] = "",
    identity: Annotated[
        str, typer.Option(help="The user of a user tunnel, for swanctl; a device is who its certificate says.")
    ] = "",
    certificate: Annotated[str, typer.Option(help="File name in /etc/swanctl/x509, for swanctl.")] = "evertunnel.pem",
    address: Annotated[str, typer.Option(help="Where the client reaches the gateway, for swanctl.")] = "",
    backup: Annotated[bool, typer.Option("--backup", help="As DPC's backup tunnel.")] = False,
    override: Annotated[
        bool, typer.Option("--override", help="Give DPC the whole ProfileXML, which it then takes as it is.")
    ] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Write although the linter found errors.")] = False,
) -> None:
    """Write a profile for a client. What the format cannot say is listed on standard error.

    Example: evertunnel profile export "Corp VPN" --format intune-custom --out corp.json
    """
    from evertunnel.profiles.findings import Level
    from evertunnel.profiles.formats import Options, get_format
    from evertunnel.profiles.swanctl import ClientFiles

    readings = _read(context, source)
    if len(readings) > 1:
        fail(f"{source} holds {len(readings)} profiles; give a file with one, or import them and name one")
    profile = readings[0].profile
    try:
        chosen = get_format(format_name)
        errors = [finding for finding in _lint(readings[0], None) if finding.level is Level.ERROR]
        if errors and not anyway:
            for finding in errors:
                typer.echo(clean(f"error: {finding.what}; {finding.mend}  ({finding.rule})"), err=True)
            fail(f"{profile.name} has {len(errors)} errors: mend them, or write it with --anyway")
        files = ClientFiles(certificate=certificate, identity=identity, address=address)
        options = Options(server_url, "UserBackupTunnel" if backup else None, override, files)
        text = chosen.build(profile, options)
    except InvalidInputError as error:
        fail(str(error))
    for loss in chosen.losses(profile, options):
        typer.echo(clean(f"left out: {loss}"), err=True)
    if out is None:
        _print(text)
        return
    _write(out, text, chosen.encoding)
    say(f"Wrote {profile.name}, version {profile.version}, to {out}.")


def _print(text: str) -> None:
    """As it is to whoever takes it further; names in it may come from anywhere, and a terminal would obey them."""
    if sys.stdout.isatty():
        text = "\n".join("\t".join(map(clean, line.split("\t"))) for line in text.splitlines())
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def _write(out: Path, text: str, encoding: str) -> None:
    """The whole file or nothing: a client may pick it up at any moment."""
    newline = "\r\n" if out.suffix.lower() in (".reg", ".ps1") else "\n"
    data = text.replace("\r\n", "\n").replace("\n", newline).encode(encoding)
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(out)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        fail(f"cannot write {out}: {error.strerror}")


@app.command()
def diff(context: typer.Context, first: Source, second: Source, json: JSON = False) -> None:
    """Compare two profiles by meaning, such as a stored one and what a client gave back. Exit 1 when they differ.

    Example: evertunnel profile diff "Corp VPN" returned.xml
    """
    from dataclasses import asdict

    from evertunnel.profiles.compare import compare_profiles

    profiles = [reading.profile for source in (first, second) for reading in _read(context, source)]
    if len(profiles) != 2:
        fail("give two sources with one profile each")
    differences = compare_profiles(*profiles)
    if json:
        print_json([asdict(difference) for difference in differences])
    else:
        print_table(
            [asdict(difference) for difference in differences],
            {"field": "FIELD", "first": "FIRST", "second": "SECOND"},
            empty="No difference in meaning.",
        )
    if differences:
        raise typer.Exit(1)


@app.command()
def formats(json: JSON = False) -> None:
    """List the formats a profile is written in.

    Example: evertunnel profile formats
    """
    from evertunnel.profiles.formats import FORMATS

    rows = [{"name": item.name, "purpose": item.purpose, "extension": item.extension} for item in FORMATS.values()]
    if json:
        print_json(rows)
        return
    print_table(rows, {"name": "FORMAT", "purpose": "FOR", "extension": "FILE"}, empty="No formats.")


def _read(context: typer.Context, source: str) -> list[Reading]:
    """A file when there is one of that name, else a stored profile."""
    path = Path(source)
    if is_file(path):
        return _read_file(path)
    if path.suffix.lower() in (".xml", ".reg", ".json", ".ps1", ".conf", ".txt") or os.sep in source:
        fail(f"there is no file {source}")
    from evertunnel.profiles.document import decode_document

    return [decode_document(API(context).get("profiles", source))]


def _read_file(path: Path) -> list[Reading]:
    from evertunnel.profiles.recognise import LARGEST_BYTES, read_profiles

    data = read_small_file(path, LARGEST_BYTES)
    try:
        return read_profiles(data, name=path.stem)
    except InvalidInputError as error:
        fail(f"{path}: {error}")


def _lint(reading: Reading, offer: Offer | None) -> list[Finding]:
    from evertunnel.profiles.findings import locate
    from evertunnel.profiles.lint.linter import lint_reading, sort_findings
    from evertunnel.profiles.offer import verify_against

    found = lint_reading(reading)
    if offer is not None:
        found += [locate(finding, reading.places) for finding in verify_against(reading.profile, offer)]
    return sort_findings(found)


def _get_offer(context: typer.Context, gateway: str) -> Offer:
    from evertunnel.profiles.offer import Offer

    values: dict[str, Any] = API(context).get("gateways", gateway, "offer")
    lists: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Offer(**lists)


def _encode(finding: Finding) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(finding)
