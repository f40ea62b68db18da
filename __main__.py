"""`python -m revbench`."""

from revbench.bench.cli import main

if __name__ == "__main__":
    main()
