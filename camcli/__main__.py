"""``python -m camcli`` is ``cam``."""

from camcli.cli import main

main()
