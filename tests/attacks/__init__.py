"""Attacks: each test sends what a hostile neighbour sends, and shows what it does not reach."""
