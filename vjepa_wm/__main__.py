"""`python -m vjepa_wm <stage>` is `vjepa-wm <stage>`; `torchrun -m vjepa_wm pretrain ...` starts several."""

import sys

from vjepa_wm.cli import main

if __name__ == "__main__":
    sys.exit(main())
