"""`python -m nightingale_instance.audit SPEC ...`: the observer, or the drain, of one instance."""

from __future__ import annotations

import sys

from nightingale_instance.audit.observer import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
