"""Decoders of files from elsewhere: images, clips and parquet.

The modules `images`, `clips` and `parquet` decode in the process that calls them; they are imported without
torch, because processes of `espalier.limited` start with them. `each` and `parquet_files` decode in such processes.
"""
