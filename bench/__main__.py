"""`python -m bench`: all of it."""

from bench.ingest import main

main()
