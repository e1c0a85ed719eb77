"""Limits on files from elsewhere, which are checked before anything of that size is allocated."""

JSON_BYTES = 64 * 2**20  # of a JSON file; saliency maps and cuts of large networks take megabytes
