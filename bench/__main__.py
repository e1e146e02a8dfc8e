"""`python -m bench`: all of it, in about half an hour on a quiet machine."""

from bench import ingest, storm

ingest.main()
storm.main()
