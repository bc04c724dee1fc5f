"""Asset checks: blocking ones stop a run before bad data goes on, the others name what a person should look at."""
