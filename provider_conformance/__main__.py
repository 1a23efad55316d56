"""``python -m provider_conformance``."""

import sys

from provider_conformance.main import main

if __name__ == "__main__":
    sys.exit(main())
