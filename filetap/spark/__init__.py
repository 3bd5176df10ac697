"""Export files as a data source of Spark: one partition per file, by the tap's own functions.

The driver lists the files and finds the columns; each task downloads its files, verifies them and
emits their rows as Arrow batches. Partitions hold names of files, never a URL or a credential;
these travel in the data source's options only.
"""
