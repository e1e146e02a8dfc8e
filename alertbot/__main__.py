"""`python -m alertbot` is the `alertbot` command."""

from alertbot.cli import main

if __name__ == "__main__":
    main()
