"""Studies: sets of runs that answer one question together, each with a page of its own."""
