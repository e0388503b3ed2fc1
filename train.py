"""The entry point: compose a configuration, then train, evaluate and report. `python train.py --help`."""

import sys

from medreg.cli.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
