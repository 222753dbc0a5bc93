"""Step 5: writes the student as a BF16 checkpoint, laid out as the Qwen3-Embedding releases are."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from student import StudentConfig
from workspace import (
    END_OF_TEXT,
    END_OF_TEXT_ID,
    Workspace,
    argument_parser,
    with_instruction,
)

# What config.json allows; the student was trained on shorter texts.
MAXIMUM_TOKENS = 4096
SEARCH_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


def configuration_files(config: StudentConfig) -> dict[str, object]:
    """Returns the JSON files of the checkpoint by path."""
    return {
        "config.json": {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            **asdict(config),
            "max_position_embeddings": MAXIMUM_TOKENS,
            "rope_scaling": None,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "use_sliding_window": False,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "bos_token_id": END_OF_TEXT_ID,
            "eos_token_id": END_OF_TEXT_ID,
        },
        # As released: this eos_token is not the token that tokenizer.json appends.
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": MAXIMUM_TOKENS,
            "eos_token": "<|im_end|>",
            "pad_token": END_OF_TEXT,
            "padding_side": "left",
            "add_prefix_space": False,
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {
                "idx": 1,
                "name": "1",
                "path": "1_Pooling",
                "type": "sentence_transformers.models.Pooling",
            },
            {
                "idx": 2,
                "name": "2",
                "path": "2_Normalize",
                "type": "sentence_transformers.models.Normalize",
            },
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": config.hidden_size,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": False,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
            "pooling_mode_weightedmean_tokens": False,
            "pooling_mode_lasttoken": True,
            "include_prompt": True,
        },
        "config_sentence_transformers.json": {
            "prompts": {
                "query": with_instruction(SEARCH_INSTRUCTION, ""),
                "document": "",
            },
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "sentence_bert_config.json": {"max_seq_length": MAXIMUM_TOKENS, "do_lower_case": False},
    }


def write_checkpoint(workspace: Workspace, folder: Path) -> None:
    """Writes weights, tokenizer and configuration."""
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    student = torch.load(workspace.training_state_path)["student"]
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in student.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copy(workspace.tokenizer_path, folder / "tokenizer.json")
    for path, content in configuration_files(StudentConfig()).items():
        text = json.dumps(content, indent=2, ensure_ascii=False)
        (folder / path).write_text(text, encoding="utf-8")


def main() -> None:
    """Writes the checkpoint."""
    parser = argument_parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    arguments = parser.parse_args()
    write_checkpoint(Workspace(arguments.work), arguments.out)


if __name__ == "__main__":
    main()
