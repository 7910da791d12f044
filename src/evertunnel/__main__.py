"""`python -m evertunnel` is the command line."""


def main() -> None:
    """Run the command line."""
    from evertunnel.cli.app import app

    app(prog_name="evertunnel")


if __name__ == "__main__":
    main()
