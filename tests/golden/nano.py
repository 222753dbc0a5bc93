"""Computes golden vectors of models/nano with sentence-transformers in float32 on the CPU."""

import argparse
import json
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sentence_transformers
import tokenizers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
MODEL = "models/nano"
TERM_PAIRS = REPOSITORY / MODEL / "recipe" / "term_pairs.json"
END_OF_TEXT = "<|endoftext|>"

MEDICAL_TERMS = ["cardiac arrest", "myocardial infarction", "arrhythmia", "common cold"]
MEDICAL_INSTRUCTION = "Represent the medical condition:"
SEARCH_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"

PROSE = [
    "A heart attack happens when the flow of blood to a part of the heart is blocked.",
    "The blockage is most often a build-up of fat and cholesterol in the coronary arteries.",
    "Without blood the muscle is starved of oxygen, and within minutes its cells begin to die.",
    "Cardiac arrest is another thing: the heart stops beating, or beats without moving any blood.",
    "The one may lead to the other, and both are emergencies in which every minute counts.",
    "A contract is an agreement between parties that the law will enforce.",
    "Whoever breaks it owes the other side what performance would have been worth.",
    "A bond is a loan that can be bought and sold; its price falls when interest rates rise.",
    "Inflation eats the value of fixed payments, so lenders ask for more when they expect it.",
    "A compiler translates a program into the language of a machine and finds mistakes on the way.",
    "Recursion solves a problem by solving smaller ones of the same kind until none is left.",
    "A bearing carries a turning shaft with little friction, and a gear passes its motion on.",
]

# Texts without an instruction.
TEXTS = [
    # Single words and terms.
    "import",
    "importance of life",
    "heart",
    "a",
    "7",
    "force majeure",
    "collateralized debt obligation",
    "involute helical gear",
    # Chinese.
    "心肌梗死",
    "心律失常",
    "心脏骤停",
    "糖尿病患者应当定期检查血糖。",
    "不可抗力條款",
    # Other scripts.
    "احتشاء عضلة القلب",
    "दिल का दौरा",
    "心筋梗塞の治療",
    "심근경색",
    "กล้ามเนื้อหัวใจตาย",
    "инфаркт миокарда",
    "έμφραγμα του μυοκαρδίου",
    "Übelkeit nach Müdigkeit, naïve café",
    # Code.
    'fn main() {\n    println!("{}", 1 + 1);\n}',
    "SELECT name FROM patients WHERE age >= 65 ORDER BY name;",
    "def fib(n):\n\treturn n if n < 2 else fib(n - 1) + fib(n - 2)",
    '{"key": [1, 2.5e-3, null, true]}',
    "https://example.org/search?q=heart+attack&page=2#top",
    # Emoji: with a joiner, a skin tone and a flag.
    "😀",
    "👩‍⚕️ 👋🏽 🇩🇪 ❤️",
    # Whitespace and control characters.
    "  leading",
    "trailing\n",
    "two  spaces\tand\ttabs",
    "line one\r\nline two\n\n\nline five",
    " ",
    # The same word composed and decomposed: NFC makes them equal.
    "caf\u00e9",
    "cafe\u0301",
    # A special token within the text.
    "before <|endoftext|> after",
    "don't, it's 12,345.67 %!?...",
    # Long ones: 300 words, and about 1,500 tokens.
    " ".join(" ".join(PROSE * 2).split()[:300]),
    " ".join(f"{number}. {PROSE[number % len(PROSE)]}" for number in range(72)),
]

INSTRUCTED = [(MEDICAL_INSTRUCTION, term) for term in MEDICAL_TERMS] + [
    (SEARCH_INSTRUCTION, "What is the capital of China?"),
    (SEARCH_INSTRUCTION, "心肌梗死的症状"),
]

MATRYOSHKA_TEXTS = ["myocardial infarction", "心肌梗死", "fn main() {}"]
MATRYOSHKA_DIMENSIONS = [32, 64, 128]


def nine_digits(vector: np.ndarray) -> list[float]:
    """Rounds to nine significant digits, which identify a float32."""
    return [float(f"{value:.9g}") for value in vector]


class Reference:
    """sentence-transformers, with a check that it has the token ids of tokenizer.json."""

    def __init__(self, folder: Path) -> None:
        self.model = SentenceTransformer(
            str(folder), device="cpu", model_kwargs={"dtype": torch.float32}
        )
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.end_of_text_id = self.tokenizer.token_to_id(END_OF_TEXT)

    def token_ids(self, prompt: str) -> list[int]:
        """Tokenises a prompt, and checks that exactly one <|endoftext|> was appended."""
        token_ids = self.model.preprocess([prompt])["input_ids"][0].tolist()
        if token_ids != self.tokenizer.encode(prompt).ids:
            raise SystemExit(
                f"sentence-transformers and tokenizer.json tokenise {prompt!r} differently"
            )
        if token_ids[-1] != self.end_of_text_id:
            raise SystemExit(f"{prompt!r} does not end in {END_OF_TEXT}")
        bare = self.tokenizer.encode(prompt, add_special_tokens=False).ids
        if token_ids != bare + [self.end_of_text_id]:
            raise SystemExit(f"{prompt!r} has more than one {END_OF_TEXT} appended")
        return token_ids

    def embed(self, text: str, prefix: str = "", dimension: int | None = None) -> np.ndarray:
        """Embeds one text, alone in its batch.

        sentence-transformers truncates after its Normalize module, so the truncated vector is not
        normalised. normalize_embeddings=True normalises it again.
        """
        embedding = self.model.encode(
            [text], prompt=prefix or None, truncate_dim=dimension, normalize_embeddings=True
        )[0]
        assert abs(np.linalg.norm(embedding) - 1) < 1e-6
        return embedding


def cases(reference: Reference) -> Iterator[dict[str, object]]:
    """Yields texts with their token ids and full vectors."""
    for instruction, text in [(None, text) for text in MEDICAL_TERMS + TEXTS] + INSTRUCTED:
        prefix = f"Instruct: {instruction}\nQuery:" if instruction else ""
        yield {
            "text": text,
            "instruction": instruction,
            "prompt": prefix + text,
            "token_ids": reference.token_ids(prefix + text),
            "embedding": nine_digits(reference.embed(text, prefix)),
        }


def matryoshka(reference: Reference) -> Iterator[dict[str, object]]:
    """Yields vectors that are truncated to a dimension and normalised again."""
    for text in MATRYOSHKA_TEXTS:
        for dimension in MATRYOSHKA_DIMENSIONS:
            embedding = reference.embed(text, dimension=dimension)
            yield {"text": text, "dimension": dimension, "embedding": nine_digits(embedding)}


def pairs(reference: Reference) -> Iterator[dict[str, object]]:
    """Yields Chinese terms, the cosine to their English term, and the nearest English term."""
    chinese_terms, english_terms = zip(*json.loads(TERM_PAIRS.read_text(encoding="utf-8")))
    english_embeddings = np.stack([reference.embed(term) for term in english_terms])
    for chinese, english in zip(chinese_terms, english_terms):
        similarities = english_embeddings @ reference.embed(chinese)
        yield {
            "chinese": chinese,
            "english": english,
            "cosine": round(float(similarities[english_terms.index(english)]), 6),
            "nearest": english_terms[int(similarities.argmax())],
        }


def to_json(golden: dict[str, object]) -> str:
    """Writes each element of the top-level lists on a line of its own."""
    members = []
    for key, value in golden.items():
        if isinstance(value, list):
            lines = ",\n".join(
                "    " + json.dumps(element, ensure_ascii=False) for element in value
            )
            members.append(f"  {json.dumps(key)}: [\n{lines}\n  ]")
        else:
            members.append(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(members) + "\n}\n"


def main() -> None:
    """Writes the golden vectors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, default=REPOSITORY / MODEL, help="folder of the checkpoint"
    )
    parser.add_argument("--out", type=Path, default=HERE / "nano.json", help="file to write")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    reference = Reference(arguments.model)
    golden = {
        "generator": {
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__,
            "sentence-transformers": sentence_transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "model": MODEL,
        "cases": list(cases(reference)),
        "matryoshka": list(matryoshka(reference)),
        "pairs": list(pairs(reference)),
    }
    arguments.out.write_text(to_json(golden), encoding="utf-8")
    lengths = [len(case["token_ids"]) for case in golden["cases"]]
    print(f"{len(lengths)} cases of {min(lengths)} to {max(lengths)} tokens")


if __name__ == "__main__":
    main()
