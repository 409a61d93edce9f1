"""``python -m neuromvm``: the command line."""

from neuromvm.workflow.command_line import main

main()
