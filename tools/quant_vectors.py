#!/usr/bin/env python3
"""Golden decode vectors: blocks of every storage format and the values PyPI's gguf (torch for FP8) decodes them to.

For each format NAME.bin: uint32 blocks, uint32 bytes a block, uint32 values a block (little endian), then the blocks,
then the values as float32. The blocks are random bits, every edge pattern below, and blocks of real models where one
uses the format. Blocks that decode to something infinite or not a number are left out.
"""

import argparse
import struct
import zlib
from pathlib import Path

import gguf
import numpy
import torch

from gguf_writer import TYPES

FORMATS = [name for name in TYPES if name != "f32"]
EDGE_BYTES = bytes.fromhex("00 01 0f 10 3c 55 7b 80 81 aa bb c3 f0 f7 fb fe")  # as f16 scales: tiny, one, huge, negative
VALUES_RANDOM = 8192
REAL_BLOCKS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder for NAME.bin")
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="GGUF files to cut real blocks from")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    real = real_blocks(arguments.models)
    for name in FORMATS:
        generator = numpy.random.default_rng([arguments.seed, zlib.crc32(name.encode())])
        _, block_values, block_bytes = TYPES[name]
        blocks = [edge_blocks(block_bytes), random_blocks(generator, block_values, block_bytes), *real.get(name, [])]
        write(arguments.output / f"{name}.bin", numpy.concatenate(blocks), lambda b: decode(name, b), block_values)
    every_byte = numpy.arange(256, dtype=numpy.uint8).reshape(256, 1)
    write(arguments.output / "f8_e4m3.bin", every_byte, decode_f8, 1)


def edge_blocks(block_bytes: int) -> numpy.ndarray:
    return numpy.repeat(numpy.frombuffer(EDGE_BYTES, numpy.uint8)[:, None], block_bytes, axis=1)


def random_blocks(generator: numpy.random.Generator, block_values: int, block_bytes: int) -> numpy.ndarray:
    return generator.integers(0, 256, (max(VALUES_RANDOM // block_values, 32), block_bytes), dtype=numpy.uint8)


def real_blocks(paths: list[Path]) -> dict[str, list[numpy.ndarray]]:
    """The first blocks of the last matrix of each format in each file."""
    found: dict[str, list[numpy.ndarray]] = {}
    for path in paths:
        last = {}
        for tensor in gguf.GGUFReader(path).tensors:
            last[tensor.tensor_type.name.lower()] = tensor
        for name, tensor in last.items():
            block_bytes = TYPES[name][2]
            found.setdefault(name, []).append(tensor.data.reshape(-1).view(numpy.uint8)[:REAL_BLOCKS * block_bytes]
                                              .reshape(REAL_BLOCKS, block_bytes))
    return found


def decode(name: str, blocks: numpy.ndarray) -> numpy.ndarray:
    with numpy.errstate(all="ignore"):
        return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name.upper()]).astype(numpy.float32)


def decode_f8(blocks: numpy.ndarray) -> numpy.ndarray:
    return torch.from_numpy(blocks.copy()).view(torch.float8_e4m3fn).float().numpy()


def write(path: Path, blocks: numpy.ndarray, decode_blocks, block_values: int) -> None:
    values = decode_blocks(blocks).reshape(len(blocks), block_values)
    finite = numpy.isfinite(values).all(axis=1)
    blocks, values = blocks[finite], values[finite]
    path.write_bytes(struct.pack("<III", len(blocks), blocks.shape[1], block_values)
                     + blocks.tobytes() + values.astype("<f4").tobytes())
    print(f"{path.name}: {len(blocks)} blocks, {(~finite).sum()} left out")


if __name__ == "__main__":
    main()
