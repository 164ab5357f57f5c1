"""Writes GGUF files (version 2 or 3, one file or split) with numpy alone.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Shapes here are in numpy's order (rows first);
the file stores them the other way round. Tensor data is given as bytes, as an array, or as a function that yields
pieces, so a file of any size is written in bounded memory.

    writer = GgufWriter("llama")
    writer.add("llama.block_count", 5)                    # an int is uint32, a float float32, unless a kind is named
    writer.add_tensor("output_norm.weight", "f32", (64,), array)
    writer.write("model.gguf")

Used as a program it lists a file's keys and tensors, read back by PyPI's `gguf` as an independent check.
"""

import argparse
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable

import numpy

# name: (id in the file, values in a block, bytes in a block)
TYPES = {
    "f32": (0, 1, 4), "f16": (1, 1, 2), "q4_0": (2, 32, 18), "q4_1": (3, 32, 20), "q5_0": (6, 32, 22),
    "q5_1": (7, 32, 24), "q8_0": (8, 32, 34), "q2_k": (10, 256, 84), "q3_k": (11, 256, 110), "q4_k": (12, 256, 144),
    "q5_k": (13, 256, 176), "q6_k": (14, 256, 210), "iq2_xxs": (16, 256, 66), "iq2_xs": (17, 256, 74),
    "iq3_xxs": (18, 256, 98), "iq1_s": (19, 256, 50), "iq4_nl": (20, 32, 18), "iq3_s": (21, 256, 110),
    "iq2_s": (22, 256, 82), "iq4_xs": (23, 256, 136), "iq1_m": (29, 256, 56), "bf16": (30, 1, 2),
    "mxfp4": (39, 32, 17),
}

KINDS = {"uint8": (0, "B"), "int8": (1, "b"), "uint16": (2, "H"), "int16": (3, "h"), "uint32": (4, "I"),
         "int32": (5, "i"), "float32": (6, "f"), "bool": (7, "?"), "uint64": (10, "Q"), "int64": (11, "q"),
         "float64": (12, "d")}
STRING, ARRAY = 8, 9


def tensor_bytes(type_name: str, shape: Iterable[int]) -> int:
    """Bytes of a tensor; its rows (the last axis) must be whole blocks."""
    _, block_values, block_bytes = TYPES[type_name]
    *rows, columns = shape
    if columns % block_values:
        raise ValueError(f"a row of {columns} values is not a multiple of {type_name}'s block of {block_values}")
    return int(numpy.prod(rows, dtype=numpy.int64)) * (columns // block_values) * block_bytes


@dataclass
class TensorEntry:
    name: str
    type_name: str
    shape: tuple[int, ...]
    data: Any  # bytes, an array, or a function that returns an iterable of either

    @property
    def size(self) -> int:
        return tensor_bytes(self.type_name, self.shape)


class GgufWriter:
    def __init__(self, architecture: str | None, version: int = 3, alignment: int = 32):
        self.version, self.alignment = version, alignment
        self.metadata: list[tuple[str, bytes]] = []
        self.tensors: list[TensorEntry] = []
        if architecture is not None:
            self.add("general.architecture", architecture)
        if alignment != 32:
            self.add("general.alignment", alignment)

    def add(self, key: str, value: Any, kind: str | None = None) -> None:
        """One key. A list or array becomes an array of `kind`; the kind is inferred where it is None."""
        self.metadata.append((key, encode_value(value, kind)))

    def add_tensor(self, name: str, type_name: str, shape: Iterable[int],
                   data: bytes | numpy.ndarray | Callable[[], Iterable[Any]]) -> None:
        entry = TensorEntry(name, type_name, tuple(int(n) for n in shape), data)
        entry.size  # refuses rows that are not whole blocks
        self.tensors.append(entry)

    def data_bytes(self) -> int:
        return sum(align(tensor.size, self.alignment) for tensor in self.tensors)

    def write(self, path: Path | str, progress: Callable[[int], None] = lambda _: None) -> None:
        """Writes one file; `progress` is told the bytes of each piece."""
        self.write_part(Path(path), self.metadata, self.tensors, progress)

    def write_split(self, prefix: Path | str, tensors_per_file: int) -> list[Path]:
        """Writes PREFIX-00001-of-0000N.gguf ...; as in llama.cpp's splits, the first part carries the metadata."""
        parts = [self.tensors[i:i + tensors_per_file] for i in range(0, len(self.tensors), tensors_per_file)]
        paths = []
        for number, tensors in enumerate(parts):
            split = [("split.no", encode_value(number, "uint16")), ("split.count", encode_value(len(parts), "uint16")),
                     ("split.tensors.count", encode_value(len(self.tensors), "int32"))]
            path = Path(f"{prefix}-{number + 1:05}-of-{len(parts):05}.gguf")
            shared = [entry for entry in self.metadata if number == 0 or entry[0] == "general.alignment"]
            self.write_part(path, shared + split, tensors, lambda _: None)
            paths.append(path)
        return paths

    def write_part(self, path: Path, metadata: list[tuple[str, bytes]], tensors: list[TensorEntry],
                   progress: Callable[[int], None]) -> None:
        header = [struct.pack("<4sIQQ", b"GGUF", self.version, len(tensors), len(metadata))]
        header += [encode_string(key) + value for key, value in metadata]
        offset = 0
        for tensor in tensors:
            header.append(encode_string(tensor.name) + struct.pack("<I", len(tensor.shape)))
            header.append(struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape)))
            header.append(struct.pack("<IQ", TYPES[tensor.type_name][0], offset))
            offset += align(tensor.size, self.alignment)
        with open(path, "wb") as file:
            file.write(b"".join(header))
            for tensor in tensors:
                pad(file, self.alignment)
                written = 0
                for piece in pieces(tensor.data):
                    file.write(piece)
                    written += len(piece)
                    progress(len(piece))
                if written != tensor.size:
                    raise ValueError(f"{tensor.name}: {written} bytes given, {tensor.size} expected")
            pad(file, self.alignment)


def align(size: int, alignment: int) -> int:
    return (size + alignment - 1) // alignment * alignment


def pad(file, alignment: int) -> None:
    file.write(bytes(align(file.tell(), alignment) - file.tell()))


def pieces(data: Any) -> Iterable[memoryview]:
    for piece in data() if callable(data) else [data]:
        yield memoryview(numpy.ascontiguousarray(piece).reshape(-1).view(numpy.uint8)
                         if isinstance(piece, numpy.ndarray) else piece)


def encode_string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def infer_kind(value: Any) -> str:
    if isinstance(value, numpy.generic):
        return str(value.dtype)
    return "bool" if isinstance(value, bool) else "uint32" if isinstance(value, int) else "float32"


def encode_value(value: Any, kind: str | None) -> bytes:
    if isinstance(value, (str, bytes)):
        return struct.pack("<I", STRING) + encode_string(value)
    if not isinstance(value, (list, tuple, numpy.ndarray)):
        number, code = KINDS[kind or infer_kind(value)]
        return struct.pack("<I" + code, number, value)
    items = list(value)
    if items and isinstance(items[0], (str, bytes)):
        return struct.pack("<IIQ", ARRAY, STRING, len(items)) + b"".join(map(encode_string, items))
    number, code = KINDS[kind or (infer_kind(items[0]) if items else "uint32")]
    return struct.pack(f"<IIQ{len(items)}{code}", ARRAY, number, len(items), *items)


def main() -> None:
    parser = argparse.ArgumentParser(description="List the keys and tensors of a GGUF file as PyPI's gguf reads them.")
    parser.add_argument("file")
    arguments = parser.parse_args()
    import gguf  # only this check needs it

    reader = gguf.GGUFReader(arguments.file)
    for field in reader.fields.values():
        print(f"{field.name} = {str(field.contents())[:100]}")
    for tensor in reader.tensors:
        print(f"{tensor.name} {tensor.tensor_type.name.lower()} {list(reversed(tensor.shape.tolist()))}")


if __name__ == "__main__":
    main()
