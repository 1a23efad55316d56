"""The checks of the repository itself, each on a copy in which one thing is wrong."""
