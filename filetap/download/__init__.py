"""Listed files become verified bytes on the local disk."""
