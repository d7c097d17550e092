"""`python -m calibrate` is the command `calibrate`."""

from calibrate.cli import main

if __name__ == "__main__":
    main()
