"""An estimate of the energy of one answer, from operations and bytes moved."""

# picojoules of a multiplication and an addition, at 45 nm and 0.9 V (Horowitz 2014, figure 1.1.9)
_FLOAT = 3.7 + 0.9
_INTEGER = 0.2 + 0.03
_PER_BYTE = 640 / 4  # of DRAM, where 32 bits cost 640 pJ (Han et al. 2015, table 1)


def energy(macs: int, size: int, *, integers: bool) -> float:
    """Microjoules of one answer: every multiply-accumulate, and every byte of the file read once.

    It compares models, and is no measurement: activations, caches and the processor's own overhead
    are left out, and newer processors need less.

    Args:
        macs: multiply-accumulates.
        size: bytes of the deployed file.
        integers: whether the products are of 8-bit integers.

    Example:
        A network of 1 M multiply-accumulates in 400 kB: 4.6 + 64 microjoules.
    """
    each = _INTEGER if integers else _FLOAT
    return 1e-6 * (macs * each + size * _PER_BYTE)
