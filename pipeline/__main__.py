"""``python -m pipeline STAGE``: runs a stage with the code of the checkout it is called in.

An experiment that DVC runs in a copy has to run that copy's code, even where another checkout is installed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from wordgaze.cli import main

if __name__ == "__main__":
    main()
