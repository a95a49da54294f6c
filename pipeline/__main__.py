"""``python -m pipeline STAGE`` runs a stage with the code of the checkout that it is started in.

DVC runs experiments in a copy of the checkout. The copy's own code must run there, even when another checkout is
installed in the environment.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from wordgaze.cli import main

if __name__ == "__main__":
    main()
