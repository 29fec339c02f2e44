"""The function that a user writes: what each server of the demo runs. Executors, in the sealed environment."""
# mypy: disable-error-code="import-not-found, untyped-decorator"
# It is shipped by value, and imports what only the sealed environment holds.

from __future__ import annotations


def triton_server(ports: list[int], model_path: str) -> None:
    """Serve a sentence-embedding model: one text in, one vector of unit length out. On a GPU if torch sees one."""
    import numpy as np
    import torch
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(max(1, torch.get_num_threads() // 2))  # two servers share this machine's cores
    model = SentenceTransformer(model_path)

    @batch
    def embed(text: np.ndarray) -> dict[str, np.ndarray]:
        return {"vector": model.encode([each.decode() for each in text[:, 0]], show_progress_bar=False)}

    size = model.encode("how long is a vector?").shape
    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "minilm",
            embed,
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="vector", dtype=np.float32, shape=size)],
            config=ModelConfig(max_batch_size=1024),
        )
        triton.serve()
