"""``make pictures``: the pictures in docs/, made of the real thing, so that they can be made again when it changes."""
