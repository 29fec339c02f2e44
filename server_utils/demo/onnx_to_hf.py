"""Runs in the sealed environment `triton`: turns PP-OCRv6's small recognizer from ONNX into a Hugging Face folder.

    python onnx_to_hf.py MODEL.onnx FOLDER

MODEL.onnx is the file `PP-OCRv6_rec_small.onnx` of RapidOCR; another one is refused. Imports nothing of `server_utils`,
and not `onnx`: the sealed environment holds neither.
"""
# mypy: disable-error-code="import-not-found"
# What it imports is in the sealed environment only.

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Weight = tuple[str, npt.NDArray[np.float32]]

# The numbers of the fields that are read, of ONNX's messages ModelProto, GraphProto, TensorProto and StringStringEntry.
_GRAPH, _METADATA, _INITIALIZER = 7, 14, 5
_DIMENSION, _TYPE, _NAME, _RAW = 1, 2, 8, 9
_KEY, _VALUE = 1, 2
_FLOAT = 1
_FIXED = {1: 8, 5: 4}  # bytes of a field by its kind on the wire
_VARINT, _BYTES = 0, 2
_LAST = 0x80  # a byte below it ends a whole number


def main(source: str, folder: str) -> None:
    """Convert a model into a folder that is there and empty."""
    content = list(fields(memoryview(Path(source).read_bytes())))
    characters = alphabet(content)
    model(deque(weights(content)), len(characters)).save_pretrained(folder)
    (Path(folder) / "preprocessor_config.json").write_text(json.dumps({"character_list": characters}))


def fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """The fields of a message of Protocol Buffers: (number, whole number or bytes) of each."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            at += 1
            value |= (message[at - 1] & (_LAST - 1)) << shift
            shift += 7
            if message[at - 1] < _LAST:
                return value

    while at < len(message):
        field, kind = divmod(number(), 8)
        if kind == _VARINT:
            yield field, number()
        elif kind == _BYTES or kind in _FIXED:
            size = number() if kind == _BYTES else _FIXED[kind]
            yield field, message[at : at + size]
            at += size
        else:
            sys.exit("this is no ONNX file")


def alphabet(content: list[tuple[int, Any]]) -> list[str]:
    """What each class stands for: none, then the characters in the file's metadata, and a space."""
    notes = [dict(fields(value)) for field, value in content if field == _METADATA]
    texts = {bytes(note[_KEY]): bytes(note[_VALUE]).decode() for note in notes}
    if b"character" not in texts:
        sys.exit("the file does not say which characters its model knows")
    return ["blank", *texts[b"character"].split("\n"), " "]


def weights(content: list[tuple[int, Any]]) -> Iterator[Weight]:
    """The arrays of a file in the order in which a picture passes through them; what is a setting is left out."""
    for graph in (value for field, value in content if field == _GRAPH):
        for tensor in (list(fields(value)) for field, value in fields(graph) if field == _INITIALIZER):
            shape = [value for field, value in tensor if field == _DIMENSION]
            known = dict(tensor)
            if known[_TYPE] == _FLOAT and int(np.prod(shape)) > 1:
                yield bytes(known[_NAME]).decode(), np.frombuffer(known[_RAW], np.float32).reshape(shape)


def model(arrays: deque[Weight], characters: int) -> Any:
    """The model of transformers; weights that are too many, too few or of other shapes are refused."""
    import torch
    from transformers import PPOCRV6SmallRecConfig, PPOCRV6SmallRecForTextRecognition

    made = PPOCRV6SmallRecForTextRecognition(PPOCRV6SmallRecConfig(head_out_channels=characters)).eval()
    with torch.inference_mode():
        for layer in _in_order(made, torch.zeros(1, 3, 48, 320)):
            for place in _places(layer, fused=not (arrays and arrays[0][0].startswith("batch_norm"))):
                _fill(place, arrays)
    if arrays:
        _refuse(f"it has {len(arrays)} arrays more")
    return made


def _in_order(model: Any, picture: Any) -> list[Any]:
    """The layers with weights in the order in which a picture passes through them, which is that of the file."""
    passed: list[Any] = []
    layers = [each for each in model.modules() if not list(each.children()) and list(each.parameters())]
    hooks = [each.register_forward_pre_hook(lambda layer, _: passed.append(layer)) for each in layers]
    model(picture)
    for hook in hooks:
        hook.remove()
    return passed


def _places(layer: Any, *, fused: bool) -> list[Any]:
    """The tensors of a layer in the order of the file.

    fused: whether a normalization is part of the convolution before it, but for what it adds.
    """
    if hasattr(layer, "running_var"):
        if not fused:
            return [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        layer.running_var.fill_(1 - layer.eps)  # it divides by the root of this plus eps
        return [layer.bias]
    is_linear = hasattr(layer, "in_features")  # the file has its matrix the other way round
    places = [layer.weight.T if is_linear else layer.weight, layer.bias]
    return [place for place in places if place is not None]


def _fill(place: Any, arrays: deque[Weight]) -> None:
    import torch

    if not arrays:
        _refuse("it has too few arrays")
    name, values = arrays.popleft()
    if np.squeeze(values).shape != tuple(place.squeeze().shape):
        _refuse(f"{name} is of shape {values.shape}, not {tuple(place.shape)}")
    place.copy_(torch.from_numpy(values.copy()).reshape(place.shape))


def _refuse(why: str) -> None:
    sys.exit(f"only PP-OCRv6's small recognizer can be converted; this is another model: {why}")


if __name__ == "__main__":
    main(*sys.argv[1:])
