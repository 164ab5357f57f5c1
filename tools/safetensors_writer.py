"""Writes safetensors files and Hugging Face's shard index with numpy alone, streaming.

The format: https://github.com/huggingface/safetensors (eight bytes of header length, a JSON header, the data).
"""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable

from gguf_writer import pieces

DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1}


@dataclass
class Entry:
    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Any  # bytes, an array of the stored bits, or a function that returns an iterable of either

    @property
    def size(self) -> int:
        return math.prod(self.shape) * DTYPE_BYTES[self.dtype]


def write_safetensors(path: Path, entries: list[Entry], progress: Callable[[int], None] = lambda _: None) -> None:
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for entry in entries:
        header[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape),
                              "data_offsets": [offset, offset + entry.size]}
        offset += entry.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for entry in entries:
            written = 0
            for piece in pieces(entry.data):
                file.write(piece)
                written += len(piece)
                progress(len(piece))
            if written != entry.size:
                raise ValueError(f"{entry.name}: {written} bytes given, {entry.size} expected")


def write_folder(folder: Path, entries: list[Entry], shard_bytes_max: int,
                 progress: Callable[[int], None] = lambda _: None) -> None:
    """model.safetensors, or model-0000N-of-0000M.safetensors and the index that names each tensor's file."""
    shards: list[list[Entry]] = [[]]
    for entry in entries:
        if shards[-1] and sum(e.size for e in shards[-1]) + entry.size > shard_bytes_max:
            shards.append([])
        shards[-1].append(entry)
    if len(shards) == 1:
        return write_safetensors(folder / "model.safetensors", entries, progress)
    names = [f"model-{n + 1:05}-of-{len(shards):05}.safetensors" for n in range(len(shards))]
    for name, shard in zip(names, shards):
        write_safetensors(folder / name, shard, progress)
    index = {"metadata": {"total_size": sum(entry.size for entry in entries)},
             "weight_map": {entry.name: name for name, shard in zip(names, shards) for entry in shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def total_bytes(entries: Iterable[Entry]) -> int:
    return sum(entry.size for entry in entries)
