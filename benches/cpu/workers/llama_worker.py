"""llama.cpp by llama-cpp-python's C interface on a GGUF file: last-token pooling, all texts of a request in one batch.

Texts share one KV cache (`kv_unified`), so that all sequences run in the same matrix products; n_ubatch 512 is llama.cpp's own
default. Flash attention is on, because its memory does not grow with the square of the length.
"""

import ctypes

import llama_cpp as llama
import numpy as np

import protocol

# Cells of the KV cache for all loads but those of one long text.
CELLS = 4096
MOST_TEXTS = 64
UBATCH = 512


def context_of(model: ctypes.c_void_p, threads: int, cells: int) -> ctypes.c_void_p:
    """Creates a context for this many tokens."""
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = cells
    params.n_ubatch = UBATCH
    params.n_seq_max = MOST_TEXTS
    params.n_threads = params.n_threads_batch = threads
    params.embeddings = True
    params.pooling_type = llama.LLAMA_POOLING_TYPE_LAST
    params.flash_attn = True
    params.kv_unified = True
    params.no_perf = True
    context = llama.llama_init_from_model(model, params)
    if not context:
        raise RuntimeError(f"llama.cpp cannot create a context of {cells} tokens")
    return context


def fill(batch: llama.llama_batch, texts: protocol.Texts) -> None:
    """Writes the texts' tokens into a batch, a sequence for each."""
    place = 0
    for sequence, text in enumerate(texts):
        for position, token in enumerate(text):
            batch.token[place] = token
            batch.pos[place] = position
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = sequence
            batch.logits[place] = True
            place += 1
    batch.n_tokens = place


def main() -> None:
    arguments = protocol.arguments()
    llama.llama_backend_init()
    llama.llama_log_set(SILENT, None)
    model = llama.llama_model_load_from_file(str(arguments.model).encode(), llama.llama_model_default_params())
    if not model:
        raise RuntimeError(f"llama.cpp cannot load {arguments.model}")
    width = llama.llama_model_n_embd(model)
    cells = max(CELLS, arguments.max_length)
    context = context_of(model, arguments.threads, cells)
    batch = llama.llama_batch_init(cells, 0, 1)

    def embed(texts: protocol.Texts) -> np.ndarray:
        llama.llama_memory_clear(llama.llama_get_memory(context), False)
        fill(batch, texts)
        if code := llama.llama_decode(context, batch):
            raise RuntimeError(f"llama_decode returned {code}")
        rows = [llama.llama_get_embeddings_seq(context, sequence)[:width] for sequence in range(len(texts))]
        return protocol.normalised(np.array(rows, np.float32))

    protocol.serve(embed, f"llama-cpp-python {llama.__version__}")


@llama.llama_log_callback
def SILENT(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """Drops the log, except errors."""
    if level >= 4:
        print(text.decode(errors="replace"), end="")


if __name__ == "__main__":
    main()
