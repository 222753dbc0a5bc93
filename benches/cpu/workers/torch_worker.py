"""transformers on PyTorch, as sentence-transformers runs it: last-token pooling, `scaled_dot_product_attention`, all cores.

Texts are padded on the right. Attention is causal, so no text sees its padding, and no mask is needed. Without a mask PyTorch takes
its fastest kernel (torch.nn.functional.scaled_dot_product_attention, `is_causal`).
"""

import numpy as np
import torch
from transformers import AutoModel
from transformers.integrations import sdpa_attention

import padding
import protocol

# With grouped heads PyTorch may choose a kernel that stores all scores. With repeated heads it never does.
sdpa_attention.use_gqa_in_sdpa = lambda *_: False


def main() -> None:
    arguments = protocol.arguments()
    torch.set_num_threads(arguments.threads)
    model = AutoModel.from_pretrained(arguments.model, dtype=getattr(torch, arguments.precision), attn_implementation="sdpa")
    model.eval()

    @torch.inference_mode()
    def pooled(texts: protocol.Texts) -> np.ndarray:
        ids, mask = padding.padded(texts)
        hidden = model(input_ids=torch.from_numpy(ids), use_cache=False).last_hidden_state
        last = torch.from_numpy(mask.sum(1) - 1)
        return hidden[torch.arange(len(texts)), last].float().numpy()

    protocol.serve(padding.in_batches(pooled), f"torch {torch.__version__}")


if __name__ == "__main__":
    main()
