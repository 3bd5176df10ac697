"""From text columns to typed ones: names, types and keys."""
