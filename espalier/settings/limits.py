"""Limits on files from elsewhere, which are checked before anything of that size is allocated."""

JSON_BYTES = 64 * 2**20  # of a JSON file; records of cuts of large networks take megabytes
JSON_VALUES = 4_000_000  # values in a JSON file
CSV_BYTES = 64 * 2**20  # of a CSV file that a stage writes; a million epochs take 100 MB
CSV_CELLS = 2_000_000  # cells of such a file
YAML_BYTES = 2**20  # of a YAML file; a thousand entries take 200 kB
YAML_DEPTH = 50  # mappings and lists inside each other; params.yaml needs 6
YAML_NODES = 100_000  # keys and values of a YAML file with its aliases expanded
HEADER_BYTES = 16 * 2**20  # of the header of a packed file, decompressed
CODED_BITS = 2**17  # coded bits that a packed file of any size may have; they take about a second
CODED_EXPANSION = 500  # coded bits for each byte of a larger file; pruned networks have up to 300
ONNX_BYTES = 2**31  # of an ONNX file without external data; protobuf has no larger messages
LAYERS = 5_000  # modules of a network that a file describes
NETWORK_BYTES = 256 * 2**20  # of the tensors of a network that a file of any size may describe
FREE_BYTES = 128 * 2**20  # decoded bytes that a file of any size may have
EXPANSION = 1000  # decoded bytes for each byte of a larger file
EXAMPLE_BYTES = 256 * 2**20  # of the file of an image, clip or text
LABEL_BYTES = 2**16  # of the member of a tar file with a label
_DECODING_BYTES = 192 * 2**20  # memory to decode a file of any size
_DECODING_EXPANSION = 50  # bytes of memory for each byte of a larger file, such as a table in text
CLIP_EXPANSION = 50  # likewise of a clip
IMAGE_EXPANSION = 3  # likewise of an image, whose pixels count by themselves: copies of the file
PARQUET_EXPANSION = 8  # likewise of some rows of a parquet file
PIXEL_BYTES = 40  # memory to decode each pixel of an image whose size is within its limit
DECODING_SECONDS = 60.0  # to decode an image, a clip, or some rows of a parquet file
RUN_BYTES = 256 * 2**20  # memory of a call of a deployed file of any size, beside the runtime's
RUN_SECONDS = 60.0  # of such a call
_RUN_EXPANSION = 16_000  # bytes of memory for each byte of the inputs
_RUN_COPIES = 10  # bytes of memory for each byte of the file; networks took up to 3.4


def largest_run(inputs: int, file: int, least: int = RUN_BYTES) -> int:
    """The largest number of bytes that a call of a deployed file may take.

    Args:
        inputs: bytes of the inputs.
        file: bytes of the file.
        least: bytes that any call may take.
    """
    return max(least, _RUN_EXPANSION * inputs, _RUN_COPIES * file)


def largest_decoded(size: int, expansion: int = EXPANSION) -> int:
    """The largest number of bytes that a file may decode to.

    Args:
        size: bytes of the file.
        expansion: decoded bytes for each of these.
    """
    return max(FREE_BYTES, expansion * size)


def largest_coded(size: int) -> int:
    """The largest number of coded bits that a packed file may have.

    Args:
        size: bytes in which they are coded.
    """
    return max(CODED_BITS, CODED_EXPANSION * size)


def decoding_memory(size: int, expansion: int = _DECODING_EXPANSION) -> int:
    """The largest number of bytes of memory in which a file may be decoded.

    Args:
        size: bytes of the file.
        expansion: bytes of memory for each of these.
    """
    return max(_DECODING_BYTES, expansion * size)


def largest_network(size: int) -> int:
    """The largest number of bytes of the tensors of a network.

    Args:
        size: bytes of the file that holds its weights.
    """
    return max(NETWORK_BYTES, EXPANSION * size)
