"""`python -m agent`: the same as `accord`."""

from agent.cli import main

if __name__ == "__main__":
    main()
