"""The page that shows the tables, docs/scale.md."""

BEGIN, END = "<!-- python -m bench.nodes writes what follows -->", "<!-- up to here -->"


def replace_tables(page: str, tables: str) -> str:
    """The page with these tables between its two marks. Raises ValueError if it lacks them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must have the lines {BEGIN} and {END}, between which the tables are")
    return f"{before}{BEGIN}\n\n{tables.strip()}\n\n{END}{after}"
