"""Makes a model of random numbers that takes pictures, for the sealed environment `vllm` to run: tiny_vision.py FOLDER.

A picture of any size is 16 tokens to it. Nothing of it needs torchvision, which the environment does not have.
"""

from __future__ import annotations

import sys

import torch
from tiny_llm import SIZES, tokenizer
from transformers import (
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2Config,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image>{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PATCH, SIDE = 16, 64  # pixels: (64 / 16) squared are the tokens of a picture


def main(folder):
    torch.manual_seed(0)
    words = tokenizer("<image>")
    words.chat_template = TEMPLATE
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIDE,
            patch_size=PATCH,
        ),
        text_config=Qwen2Config(architectures=["Qwen2ForCausalLM"], **SIZES),
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    LlavaForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(folder)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    LlavaProcessor(
        pictures,
        words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1])
