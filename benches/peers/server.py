"""An efficient Python server of `POST /v1/embeddings`, for comparison: FastAPI on uvicorn with batching.

    server.py --model DIR --engine torch|onnx|onnxruntime --port PORT [--workers N] [--threads N]

It uses uvloop, httptools and orjson. One thread owns the model. Whenever it is free, it takes all waiting texts, up to
MAX_BATCH, so a batch never waits to fill. A cache keeps vectors by text, like lexivec's. orjson parses bodies without
pydantic, and the server checks only the parts of the contract that the benchmark uses, which is less work than lexivec does.

    torch        sentence-transformers, float32
    onnx         sentence-transformers with its ONNX backend; DIR is a conversion with `lexivec convert --layout padded`
    onnxruntime  tokenizers, numpy and onnxruntime, without sentence-transformers
"""

import argparse
import asyncio
import base64
import os
import queue
import threading
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

MAX_BATCH = 256
# Texts per run of the model. Texts are sorted by length, so that a run has little padding.
RUN = 64
# Entries of the cache. lexivec's cache holds as many entries for nano.
CACHE_ENTRIES = 250_000


def torch_engine(model: str, threads: int) -> Callable[[list[str]], np.ndarray]:
    """Returns an encoder by sentence-transformers with PyTorch."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    encoder = SentenceTransformer(model, device="cpu", model_kwargs={"torch_dtype": torch.float32})
    return encoder_of(encoder)


def onnx_engine(model: str, threads: int) -> Callable[[list[str]], np.ndarray]:
    """Returns an encoder by sentence-transformers with ONNX Runtime."""
    import onnxruntime
    from sentence_transformers import SentenceTransformer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    settings = {"file_name": "model.onnx", "session_options": options, "provider": "CPUExecutionProvider"}
    return encoder_of(SentenceTransformer(model, device="cpu", backend="onnx", model_kwargs=settings))


def encoder_of(encoder) -> Callable[[list[str]], np.ndarray]:
    """Returns the encode function of a SentenceTransformer."""

    def encode(texts: list[str]) -> np.ndarray:
        return encoder.encode(texts, batch_size=RUN, normalize_embeddings=True, show_progress_bar=False)

    return encode


def onnxruntime_engine(model: str, threads: int) -> Callable[[list[str]], np.ndarray]:
    """Returns an encoder by tokenizers and onnxruntime alone."""
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(Path(model) / "model.onnx", options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()

    def encode(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        vectors = np.empty((len(texts), session.get_outputs()[0].shape[-1]), np.float32)
        for start in range(0, len(order), RUN):
            places = order[start : start + RUN]
            encodings = tokenizer.encode_batch_fast([texts[place] for place in places])
            inputs = {
                "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
                "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
            }
            (pooled,) = session.run(["sentence_embedding"], inputs)
            vectors[places] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return vectors

    return encode


ENGINES = {"torch": torch_engine, "onnx": onnx_engine, "onnxruntime": onnxruntime_engine}


class Batcher:
    """The thread that owns the model, and the cache of its vectors."""

    def __init__(self, encode: Callable[[list[str]], np.ndarray]):
        self.encode = encode
        self.cache: dict[str, np.ndarray] = {}
        self.waiting: queue.SimpleQueue = queue.SimpleQueue()
        self.loop = asyncio.get_running_loop()
        threading.Thread(target=self.serve, daemon=True).start()

    async def embed(self, texts: list[str]) -> list[np.ndarray]:
        """Returns the texts' vectors."""
        found = {text: self.cache.get(text) for text in texts}
        missing = [text for text, vector in found.items() if vector is None]
        if missing:
            future = self.loop.create_future()
            self.waiting.put((missing, future))
            computed = dict(zip(missing, await future))
            found |= computed
            self.cache |= computed
            while len(self.cache) > CACHE_ENTRIES:
                del self.cache[next(iter(self.cache))]
        return [found[text] for text in texts]

    def serve(self) -> None:
        """Computes batches of the waiting requests, forever."""
        while True:
            batch = [self.waiting.get()]
            texts = list(batch[0][0])
            while len(texts) < MAX_BATCH:
                try:
                    batch.append(self.waiting.get_nowait())
                except queue.Empty:
                    break
                texts += batch[-1][0]
            try:
                result = self.encode(texts)
            except Exception as error:
                result = error
            self.loop.call_soon_threadsafe(self.answer, batch, result)

    @staticmethod
    def answer(batch: list, result: np.ndarray | Exception) -> None:
        """Completes all requests of a batch."""
        start = 0
        for texts, future in batch:
            if future.cancelled():
                pass
            elif isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result[start : start + len(texts)])
            start += len(texts)


def create_app() -> FastAPI:
    """Creates the application. It reads its settings from the environment, because uvicorn's workers are processes."""
    engine, model, threads = (os.environ[f"PEER_{name}"] for name in ("ENGINE", "MODEL", "THREADS"))

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        encode = ENGINES[engine](model, int(threads))
        encode(["warm-up"])
        app.state.batcher = Batcher(encode)
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok"}

    @app.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        body = orjson.loads(await request.body())
        texts = body["input"]
        vectors = await request.app.state.batcher.embed([texts] if isinstance(texts, str) else texts)
        if body.get("encoding_format") == "base64":
            encoded = [base64.b64encode(vector.tobytes()).decode() for vector in vectors]
        else:
            encoded = vectors
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(encoded)]
        answer = {"object": "list", "data": data, "model": body["model"]}
        return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    os.environ |= {
        "PEER_ENGINE": arguments.engine,
        "PEER_MODEL": arguments.model,
        "PEER_THREADS": str(arguments.threads),
        "OMP_NUM_THREADS": str(arguments.threads),
        "TOKENIZERS_PARALLELISM": "true" if arguments.threads > 1 else "false",
    }
    uvicorn.run(
        "server:create_app",
        factory=True,
        port=arguments.port,
        workers=arguments.workers,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
