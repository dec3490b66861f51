"""The command line. One file per command; nothing heavy is imported before a command needs it."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from camcli.cli import bench, check, diff, evaluate, layers, listings, merge, render, report, run
from camcli.cli.command import Command, Group
from camcli.cli.options import show_version
from camcli.cli.streams import describe_unexpected, discard_output, error_block, prepare_streams
from camcli.concurrency import be_process, keep_freed_memory
from camcli.errors import CamError, printable

app = typer.Typer(
    name="cam",
    cls=Group,
    help="Explain image classifiers: class activation maps of folders of images, drawn and indexed.",
    epilog="Start with: cam run --image-path sample_images --method gradcam",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _command, _help, _examples in (
    ("run", run.command, run.HELP, run.EXAMPLES),
    ("layers", layers.command, layers.HELP, layers.EXAMPLES),
    ("check", check.command, check.HELP, check.EXAMPLES),
    ("eval", evaluate.command, evaluate.HELP, evaluate.EXAMPLES),
    ("diff", diff.command, diff.HELP, diff.EXAMPLES),
    ("report", report.command, report.HELP, report.EXAMPLES),
    ("render", render.command, render.HELP, render.EXAMPLES),
    ("merge", merge.command, merge.HELP, merge.EXAMPLES),
    ("bench", bench.command, bench.HELP, bench.EXAMPLES),
    ("models", listings.models, listings.MODELS_HELP, listings.MODELS_EXAMPLES),
    ("methods", listings.methods, listings.METHODS_HELP, listings.METHODS_EXAMPLES),
):
    app.command(_name, cls=Command, help=_help, epilog=_examples)(_command)


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=show_version, is_eager=True
    ),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `cam` and exit with its code; an error is printed as a line on stderr, without a traceback."""
    prepare_streams()
    # Read when torch is loaded. Threads of the model that wait for each other would otherwise spin on the cores that
    # the threads which decode and write need; with two cores a run then takes several times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    try:
        app(args=None if arguments is None else list(arguments), prog_name="cam")
    except CamError as error:
        print(error_block(printable(f"cam: {error}", lines=True), sys.stderr), file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of the output (head, less) has exited, and does not need the rest.
        discard_output(sys.stdout)
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        print(error_block(printable(f"cam: {describe_unexpected(error)}"), sys.stderr), file=sys.stderr)
        sys.exit(1)


def script() -> NoReturn:
    """What the installed ``cam`` calls: :func:`main`, and the end of its process."""
    be_process(main)
