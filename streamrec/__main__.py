"""`python -m streamrec` is the `streamrec` command."""

from streamrec.cli.main import main

if __name__ == "__main__":
    main()
