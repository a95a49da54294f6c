"""``python -m wordgaze`` is the same as the command ``wordgaze``."""

from wordgaze.cli import main

if __name__ == "__main__":
    main()
