"""Singer tap for Firstup Direct Data Export v2."""

import os

# Polars reads this when it is first imported. Its allocator would keep freed blocks in four arenas
# a core: up to a third more memory when batch files are large, for no speed.
os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:2")
