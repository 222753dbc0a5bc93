"""A Python server of `POST /v1/embeddings` as a careful team would write it: FastAPI on uvicorn, batching, no waste.

    server.py --model DIR --engine torch|onnx|onnxruntime --port PORT [--workers N] [--threads N]

uvloop, httptools and orjson; one thread owns the model and takes whatever waits when it is free, up to MAX_BATCH texts,
so a batch never waits to fill. Vectors are kept by their texts, as lexivec keeps them. Bodies are parsed by orjson
without pydantic, and of the contract only what the benchmark asks for is checked: less work than lexivec does.

    torch        sentence-transformers, float32
    onnx         sentence-transformers over its ONNX backend; DIR is `lexivec convert --layout padded`'s
    onnxruntime  no sentence-transformers either: tokenizers, numpy and onnxruntime
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
# Of one run of the model; sentence-transformers sorts by length, so that a run pads little.
RUN = 64
# Texts whose vectors are kept; lexivec keeps as many of nano's.
KEPT = 250_000


def torch_engine(model: str, threads: int) -> Callable[[list[str]], np.ndarray]:
    """sentence-transformers over PyTorch."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    encoder = SentenceTransformer(model, device="cpu", model_kwargs={"torch_dtype": torch.float32})
    return encoder_of(encoder)


def onnx_engine(model: str, threads: int) -> Callable[[list[str]], np.ndarray]:
    """sentence-transformers over ONNX Runtime."""
    import onnxruntime
    from sentence_transformers import SentenceTransformer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    settings = {"file_name": "model.onnx", "session_options": options, "provider": "CPUExecutionProvider"}
    return encoder_of(SentenceTransformer(model, device="cpu", backend="onnx", model_kwargs=settings))


def encoder_of(encoder) -> Callable[[list[str]], np.ndarray]:
    """What both forms of sentence-transformers share."""

    def encode(texts: list[str]) -> np.ndarray:
        return encoder.encode(texts, batch_size=RUN, normalize_embeddings=True, show_progress_bar=False)

    return encode


def onnxruntime_engine(model: str, threads: int) -> Callable[[list[str]], np.ndarray]:
    """The least that Python needs."""
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
            (states,) = session.run(["sentence_embedding"], inputs)
            vectors[places] = states / np.linalg.norm(states, axis=1, keepdims=True)
        return vectors

    return encode


ENGINES = {"torch": torch_engine, "onnx": onnx_engine, "onnxruntime": onnxruntime_engine}


class Batcher:
    """The thread that owns the model, and what it computed before."""

    def __init__(self, encode: Callable[[list[str]], np.ndarray]):
        self.encode = encode
        self.kept: dict[str, np.ndarray] = {}
        self.waiting: queue.SimpleQueue = queue.SimpleQueue()
        self.loop = asyncio.get_running_loop()
        threading.Thread(target=self.serve, daemon=True).start()

    async def embed(self, texts: list[str]) -> list[np.ndarray]:
        """The texts' vectors."""
        found = {text: self.kept.get(text) for text in texts}
        missing = [text for text, vector in found.items() if vector is None]
        if missing:
            future = self.loop.create_future()
            self.waiting.put((missing, future))
            computed = dict(zip(missing, await future))
            found |= computed
            self.kept |= computed
            while len(self.kept) > KEPT:
                del self.kept[next(iter(self.kept))]
        return [found[text] for text in texts]

    def serve(self) -> None:
        """Takes what waits, computes, answers."""
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
        """Tells everybody of a batch, at once."""
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
    """The application; its settings come by the environment, for uvicorn's workers are processes of their own."""
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
        asked = orjson.loads(await request.body())
        texts = asked["input"]
        vectors = await request.app.state.batcher.embed([texts] if isinstance(texts, str) else texts)
        if asked.get("encoding_format") == "base64":
            written = [base64.b64encode(vector.tobytes()).decode() for vector in vectors]
        else:
            written = vectors
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(written)]
        answer = {"object": "list", "data": data, "model": asked["model"]}
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
