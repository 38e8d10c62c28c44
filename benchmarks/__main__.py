"""`python -m benchmarks [--quick]`: measure, print the table, write results.json, exit 1 if a budget is missed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import peers, run
from benchmarks.effort import FULL, QUICK

RESULTS = Path(__file__).with_name("results.json")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the performance budgets."
    )
    parser.add_argument("--quick", action="store_true", help="a rough run in a few seconds")
    options = parser.parse_args()
    missing = [name for name, version in peers.versions().items() if version is None]
    if missing:
        print(f"not installed: {', '.join(missing)}; `make bench` installs the group bench", file=sys.stderr)
        return 2
    return run.run(QUICK if options.quick else FULL, list(peers.PEERS), RESULTS)


if __name__ == "__main__":
    sys.exit(main())
