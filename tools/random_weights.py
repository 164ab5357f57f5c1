"""Random weights in any storage format, written as blocks without quantizing anything: several hundred MB a second.

A quantized block is random bits whose scale fields are set so that the decoded values have mean zero and the standard
deviation asked for. Formats with a minimum get the one that centres them. The same generator gives the same bytes.
"""

import math
from typing import Iterable

import numpy

from gguf_writer import TYPES

PIECE_BYTES = 1 << 23

# Standard deviation of a block's values at scale 1, for uniform random bits: sqrt of the products of the mean squares
# of its integer fields. Quants of n bits round zero have (4^n - 1) / 12 + 1/4, centred ones lack the 1/4.
CENTRED_4, CENTRED_5 = 255 / 12, 1023 / 12
SCALES_6, SIGNED_SCALES_6 = 63 * 127 / 6, 4095 / 12 + 0.25
IQ4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
IQ4_SQUARE = sum(value * value for value in IQ4) / 16
# Grid formats: the mean square of the grid's levels, times that of 2 x + 1 for sub-scales x of 4 or 3 bits.
ODD_16, ODD_8 = 341, 85
IQ1_SQUARE = ODD_8 * (0.594177 + 1 / 64)
UNIT_DEVIATION = {name: math.sqrt(square) for name, square in {
    "q4_0": CENTRED_4 + 0.25, "q4_1": CENTRED_4, "q5_0": CENTRED_5 + 0.25, "q5_1": CENTRED_5,
    "q8_0": 65535 / 12 + 0.25, "q2_k": 15 * 31 / 6 * 15 / 12, "q3_k": SIGNED_SCALES_6 * (63 / 12 + 0.25),
    "q4_k": SCALES_6 * CENTRED_4, "q5_k": SCALES_6 * CENTRED_5, "q6_k": (65535 / 12 + 0.25) * (4095 / 12 + 0.25),
    "iq4_nl": IQ4_SQUARE, "iq4_xs": SIGNED_SCALES_6 * IQ4_SQUARE,
    "iq2_xxs": ODD_16 / 64 * 534.430, "iq2_xs": ODD_16 / 64 * 586.476, "iq2_s": ODD_16 / 64 * 596.842,
    "iq3_xxs": ODD_16 / 16 * 951.641, "iq3_s": ODD_16 * 57.6719, "iq1_s": IQ1_SQUARE, "iq1_m": IQ1_SQUARE,
    "mxfp4": (0.25 + 1 + 2.25 + 4 + 9 + 16 + 36) / 8}.items()}

# Where a block's f16 scale stands, and its minimum with what it is in scales.
SCALE_OFFSET = {"q2_k": 80, "q3_k": 108, "q6_k": 208}
MINIMUM = {"q4_1": (2, -7.5), "q5_1": (2, -15.5), "q2_k": (82, 1.5), "q4_k": (2, 7.5), "q5_k": (2, 15.5)}
NO_MINIMUM = ("q4_0", "q5_0", "q8_0", "q3_k", "q6_k", "iq4_nl", "iq4_xs")

# Float formats: integer type, mantissa bits, exponent bias. Values are spread evenly over four octaves.
FLOATS = {"f32": (numpy.uint32, 23, 127), "f16": (numpy.uint16, 10, 15), "bf16": (numpy.uint16, 7, 127),
          "f8_e4m3": (numpy.uint8, 3, 7)}
FLOAT_DEVIATION = math.sqrt(7 / 3 * (1 + 1 / 4 + 1 / 16 + 1 / 64) / 4)  # of the octaves 1/8 .. 2

FORMATS = [*FLOATS, *UNIT_DEVIATION]


def random_pieces(generator: numpy.random.Generator, name: str, values: int, deviation: float) -> Iterable[numpy.ndarray]:
    """`values` values of a format as arrays of bytes of at most PIECE_BYTES."""
    if name in FLOATS:
        kind, block_values = FLOATS[name][0], 1
        block_bytes = numpy.dtype(kind).itemsize
    else:
        _, block_values, block_bytes = TYPES[name]
    blocks = values // block_values
    step = PIECE_BYTES // block_bytes
    for start in range(0, blocks, step):
        count = min(step, blocks - start)
        raw = random_bytes(generator, count * block_bytes).reshape(count, block_bytes)
        yield make_floats(raw, name, deviation) if name in FLOATS else make_blocks(generator, raw, name, deviation)


def random_bytes(generator: numpy.random.Generator, count: int) -> numpy.ndarray:
    words = generator.integers(0, 1 << 64, -(-count // 8), dtype=numpy.uint64)
    return words.view(numpy.uint8)[:count]


def make_floats(raw: numpy.ndarray, name: str, deviation: float) -> numpy.ndarray:
    """Keeps the random sign and mantissa; the exponent's two lowest random bits choose one of four octaves."""
    kind, mantissa_bits, bias = FLOATS[name]
    bits = raw.reshape(-1).view(kind)
    top_octave = max(bias + round(math.log2(deviation / FLOAT_DEVIATION)), 4)
    octave = (bits >> kind(mantissa_bits)) & kind(3)
    sign_and_mantissa = kind(1 << (kind().itemsize * 8 - 1) | (1 << mantissa_bits) - 1)
    return (bits & sign_and_mantissa) | (kind(top_octave) - octave) << kind(mantissa_bits)


def make_blocks(generator: numpy.random.Generator, blocks: numpy.ndarray, name: str, deviation: float) -> numpy.ndarray:
    scale = deviation / UNIT_DEVIATION[name]
    if name == "mxfp4":
        blocks[:, 0] = 127 + round(math.log2(scale))
        return blocks
    # The sign is random: quants round zero reach one step further down than up, which would add up over a row.
    signs = generator.integers(0, 2, len(blocks), dtype=numpy.int8).astype(numpy.float32) * 2 - 1
    scales = (signs * scale).astype(numpy.float16)
    if name == "iq1_m":  # four bits of the scale in the top of each of the last four 16-bit words, the lowest first
        words = blocks[:, 48:].view(numpy.uint16)
        words[:] = (words & 0xfff) | (scales.view(numpy.uint16)[:, None] >> numpy.array([0, 4, 8, 12], numpy.uint16)) << 12
        return blocks
    put_f16(blocks, SCALE_OFFSET.get(name, 0), scales)
    if name in MINIMUM:
        offset, factor = MINIMUM[name]
        put_f16(blocks, offset, (scales.astype(numpy.float32) * factor).astype(numpy.float16))
    if name == "q2_k":  # a sub-block's minimum is its scale, so that it is centred
        blocks[:, :16] = (blocks[:, :16] & 15) * 17
    if name in ("q4_k", "q5_k"):  # twelve bytes: scales 0-3, minimums 0-3, the low nibbles of scales and minimums 4-7
        blocks[:, 8:12] = blocks[:, 4:8]
        blocks[:, 12:16] = (blocks[:, 12:16] & 15) * 17
    return blocks


def put_f16(blocks: numpy.ndarray, offset: int, values: numpy.ndarray) -> None:
    blocks[:, offset:offset + 2] = values.view(numpy.uint8).reshape(-1, 2)


def main() -> None:
    """Checks every format's deviation and mean against PyPI's gguf (torch for FP8), which only this needs."""
    import gguf
    import torch

    for name in FORMATS:
        pieces = random_pieces(numpy.random.default_rng(1), name, 1 << 20, 0.02)
        raw = numpy.concatenate([piece.reshape(-1).view(numpy.uint8) for piece in pieces])
        if name == "f8_e4m3":
            values = torch.from_numpy(raw).view(torch.float8_e4m3fn).float().numpy()
        else:
            values = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[name.upper()])
        print(f"{name:8} deviation {values.std():.5f} (0.02 asked), mean {values.mean():+.6f}")


if __name__ == "__main__":
    main()
