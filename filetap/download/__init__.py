"""From a listed file to verified bytes on the local disk."""
