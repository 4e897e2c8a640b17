"""Weights files: written as safetensors, read strictly, checked against their record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from lightface.errors import CheckpointError, WeightsError
from lightface.files import check_regular
from lightface.models.layers import PADDINGS, POOLINGS
from lightface.models.lightcnn import ARCHITECTURES, LightCNN, Structure, build_lightcnn
from lightface.models.registry import DEFAULT_WEIGHTS, WeightsRecord, find_weights, verify_weights, write_model_file

DIGEST_KEY = "tensors_sha256"  # of the metadata


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network ready for use, with the record of its weights."""

    record: WeightsRecord
    network: LightCNN  # evaluation mode, float32, on the CPU


def load_model(name: str = DEFAULT_WEIGHTS) -> LoadedModel:
    """Load registered weights. WeightsError, ChecksumError or CheckpointError when they cannot be trusted."""
    record = find_weights(name)
    verify_weights(record)
    state = read_state(record.file)
    if record.pooling not in POOLINGS or record.padding not in PADDINGS or record.architecture not in ARCHITECTURES:
        raise WeightsError(f"the record of {name!r} names a network that this version of lightface does not know")
    network = build_lightcnn(record.architecture, Structure(pooling=record.pooling, padding=record.padding))
    load_strictly(network, state, source=record.file)
    return LoadedModel(record, network.eval())


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; WeightsError when it is none."""
    try:
        check_regular(path)
        return safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read the weights {path}: {error}") from error


def write_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write safetensors, owner-only and whole or not at all; returns the SHA-256. OutputError when that fails.

    The digest of the tensors joins the metadata, so that the figures there can be held to belong to them.
    """
    tensors = {key: tensor.detach().contiguous().cpu() for key, tensor in state.items()}
    data = safetensors.torch.save(tensors, metadata={**metadata, DIGEST_KEY: digest_tensors(tensors)})
    write_model_file(path, data)
    return hashlib.sha256(data).hexdigest()


def digest_tensors(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().contiguous().cpu()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_strictly(network: LightCNN, state: Mapping[str, Tensor], *, source: Path) -> None:
    """Copy `state` into the network; CheckpointError lists each key that is missing, unexpected or of another shape."""
    expected = network.state_dict()
    problems = [f"{key} is missing" for key in expected.keys() - state.keys()]
    problems += [f"{key} is unexpected" for key in state.keys() - expected.keys()]
    for key in expected.keys() & state.keys():
        wanted, given = tuple(expected[key].shape), tuple(state[key].shape)
        if wanted != given:
            problems.append(f"{key} is {given}, not {wanted}")
        elif not state[key].isfinite().all():
            problems.append(f"{key} has values that are not finite")
    if problems:
        raise CheckpointError(f"{source} does not fit the network: {'; '.join(sorted(problems))}")
    network.load_state_dict(dict(state))
