"""``layerdrop SUBCOMMAND``: one short file each, argparse and a call."""
