"""The command line. One file per command; nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from camcli.cli import bench, check, diff, evaluate, layers, listings, run
from camcli.cli.options import show_version
from camcli.cli.streams import describe_unexpected, nobody_listens, printable, speak_anywhere
from camcli.concurrency import keep_freed_memory
from camcli.errors import CamError

app = typer.Typer(
    name="cam",
    help="See where an image classifier looks: class activation maps of folders of images.",
    epilog="Start with: cam run --image-path sample_images --method gradcam",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", help=run.HELP, epilog=run.EXAMPLES)(run.command)
app.command("layers", help=layers.HELP, epilog=layers.EXAMPLES)(layers.command)
app.command("check", help=check.HELP, epilog=check.EXAMPLES)(check.command)
app.command("eval", help=evaluate.HELP, epilog=evaluate.EXAMPLES)(evaluate.command)
app.command("diff", help=diff.HELP, epilog=diff.EXAMPLES)(diff.command)
app.command("bench", help=bench.HELP, epilog=bench.EXAMPLES)(bench.command)
app.command("models", help=listings.MODELS_HELP, epilog=listings.MODELS_EXAMPLES)(listings.models)
app.command("methods", help=listings.METHODS_HELP, epilog=listings.METHODS_EXAMPLES)(listings.methods)


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=show_version, is_eager=True),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `cam` and leave with its exit code; an error is a line on stderr, never a traceback."""
    speak_anywhere()
    # Read when torch is loaded. Threads of the model that wait for each other would else spin on the cores that the
    # threads which decode and write are waiting for; with two cores a run then takes several times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    try:
        app(args=layers.with_path_of_verify(sys.argv[1:] if arguments is None else arguments), prog_name="cam")
    except CamError as error:
        print(printable(f"cam: {error}", lines=True), file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output (head, less) is gone; what it did not read does not matter to it.
        nobody_listens(sys.stdout)
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        print(printable(f"cam: {describe_unexpected(error)}"), file=sys.stderr)
        sys.exit(1)
